"""A file is read with its identity, and written whole or not at all."""

import errno
import os
import socket
import stat
import threading

import pytest

from pyrite.errors import ConflictError, UnreadableFileError
from pyrite.storage.records import FileStamp
from pyrite.vault import files
from pyrite.vault.files import read_file, remove, stamp_of, sync_folder
from pyrite.vault.prepared_file import prepare, sweep
from pyrite.vault.scan import scan


def test_a_file_is_read_with_its_stamp_and_digest(tmp_path):
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "x.md"
    path.write_bytes(b"---\ntitle: T\n---\nBody")
    read = read_file(tmp_path, "d/x.md", max_bytes=21)
    assert read.raw == b"---\ntitle: T\n---\nBody"
    assert read.stamp == stamp_of(path) == FileStamp.of(path.stat())
    assert read.digest == files.digest_of(read.raw)
    assert len(read.digest) == 16
    assert read.entry().id == "d/x"


def test_an_entry_that_cannot_be_read_names_file_and_line(tmp_path):
    (tmp_path / "x.md").write_bytes(b"---\na: 1\nb: *x\n---\n")
    read = read_file(tmp_path, "x.md", max_bytes=100)
    with pytest.raises(
        UnreadableFileError, match=r"x\.md:3: the alias \*x has no anchor"
    ) as caught:
        read.entry()
    assert (caught.value.path, caught.value.line) == ("x.md", 3)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path, "x.md", max_bytes=1)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path, "no/x.md", max_bytes=1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("large.md", r"11 bytes are more than max_file_bytes allows \(10\)"),
        ("folder.md", "not a file"),
        ("pipe.md", "not a file"),
        ("socket.md", "cannot be read|not a file"),
        ("link.md", "it is a link, not a file"),
        ("linked/x.md", "its folder 'linked' is a link"),
        ("large.md/x.md", "cannot be read: Not a directory"),
        ("../x.md", "begin with a dot"),
    ],
)
def test_what_is_no_plain_file_of_a_fair_size_is_refused(tmp_path, monkeypatch, name, reason):
    (tmp_path / "large.md").write_bytes(b"x" * 11)
    (tmp_path / "folder.md").mkdir()
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "link.md").symlink_to("large.md")
    (tmp_path / "linked").symlink_to("folder.md")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.md")
        with pytest.raises(UnreadableFileError, match=reason) as caught:
            read_file(tmp_path, name, max_bytes=10)
    assert caught.value.path == name


def test_a_file_that_may_not_be_read_is_a_problem(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnreadableFileError, match=r"x\.md: it cannot be read: Permission denied"):
        read_file(tmp_path, "x.md", max_bytes=10)


@pytest.mark.parametrize(("changes", "readable"), [(1, True), (3, True), (99, False)])
def test_a_file_that_changes_is_read_again_a_few_times(tmp_path, monkeypatch, changes, readable):
    path = tmp_path / "x.md"
    path.write_bytes(b"0")
    real_read, left = os.read, [changes]

    def read_while_written(descriptor, size):
        raw = real_read(descriptor, size)
        if left[0]:
            left[0] -= 1
            path.write_bytes(path.read_bytes() + b"x")
        return raw

    monkeypatch.setattr(os, "read", read_while_written)
    if readable:
        read = read_file(tmp_path, "x.md", max_bytes=100)
        assert (read.raw, read.stamp) == (b"0" + b"x" * changes, stamp_of(path))
    else:
        with pytest.raises(UnreadableFileError, match="keeps changing"):
            read_file(tmp_path, "x.md", max_bytes=100)


def test_short_reads_are_continued(tmp_path, monkeypatch):
    (tmp_path / "x.md").write_bytes(b"0123456789")
    real_read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: real_read(descriptor, min(size, 3)))
    assert read_file(tmp_path, "x.md", max_bytes=10).raw == b"0123456789"


def test_a_prepared_file_appears_at_once(tmp_path):
    path = tmp_path / "new" / "folder" / "x.md"
    with prepare(path, b"one") as prepared:
        assert not path.exists()
        (hidden,) = path.parent.iterdir()
        assert hidden.name.startswith(".pyrite-")
        assert hidden.read_bytes() == b"one"
        stamp = prepared.create()
        prepared.keep()
        prepared.sync_folder()
    assert stamp == stamp_of(path)
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~current_umask()

    path.chmod(0o640)
    with prepare(path, b"two", keep_mode=True) as prepared:
        assert path.read_bytes() == b"one"
        assert prepared.present_stamp() == stamp_of(path)
        assert prepared.replace() == stamp_of(path)
        prepared.keep()
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    remove(tmp_path, "new/folder/x.md")
    sync_folder(path.parent)
    assert list((tmp_path / "new").iterdir()) == [path.parent]


def current_umask():
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def test_an_unused_file_is_discarded(tmp_path):
    with prepare(tmp_path / "x.md", b"one", keep_mode=True) as prepared:
        pass
    assert list(tmp_path.iterdir()) == []
    prepared.discard()
    with pytest.raises(ValueError, match="put in place or discarded"):
        prepared.replace()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_never_created_over_another(tmp_path, monkeypatch, links):
    def no_links(*_arguments, **_options):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "x.md"
    with prepare(path, b"one") as prepared:
        assert prepared.create() == stamp_of(path)
        prepared.keep()
    with prepare(path, b"two") as prepared, pytest.raises(ConflictError, match=r"'x\.md' exists"):
        prepared.create()
    path.unlink()
    path.symlink_to("nowhere")
    with prepare(path, b"two") as prepared, pytest.raises(ConflictError):
        prepared.create()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, call):
    def fail(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        prepare(tmp_path / "x.md", b"one")
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_failure_of_linking_is_not_hidden(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with prepare(tmp_path / "x.md", b"one") as prepared, pytest.raises(OSError, match="Input"):
        prepared.create()
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_creates_a_file(tmp_path):
    path = tmp_path / "x.md"
    outcomes = []
    start = threading.Barrier(8)

    def write(number):
        with prepare(path, str(number).encode()) as prepared:
            start.wait()
            try:
                prepared.create()
                prepared.keep()
                outcomes.append(str(number))
            except ConflictError:
                outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = filter(None, outcomes)
    assert path.read_text() == winner
    assert list(tmp_path.iterdir()) == [path]


def test_a_stamp_is_of_the_own_file_even_if_another_came_after(tmp_path, monkeypatch):
    path, real = tmp_path / "x.md", os.fstat

    def late(descriptor):
        if path.exists():
            path.unlink()
            path.write_bytes(b"of somebody else")
        return real(descriptor)

    with prepare(path, b"mine") as prepared:
        monkeypatch.setattr(os, "fstat", late)
        assert prepared.replace() != stamp_of(path)


def test_left_over_files_are_swept(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / ".git").mkdir()
    names = [".pyrite-1.tmp", "d/.pyrite-2.tmp", ".git/.pyrite-3.tmp", "d/x.md", ".pyrite-4.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / ".pyrite-4.tmp")
    assert sweep(tmp_path, sorted(scan(tmp_path).leftovers), 3600) == 2
    assert [name for name in names if (tmp_path / name).exists()] == names[2:]


def test_a_folder_swapped_for_a_link_is_not_read_through(tmp_path, monkeypatch):
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder in (outside, root / "sub"):
        folder.mkdir(parents=True)
        (folder / "x.md").write_text(folder.name)
    real = os.open

    def swapping(path, *arguments, **options):
        if path == "x.md" and not (root / "sub").is_symlink():
            (root / "sub").rename(root / "away")
            (root / "sub").symlink_to(outside)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", swapping)
    assert read_file(root, "sub/x.md", max_bytes=10).raw == b"sub"
    with pytest.raises(UnreadableFileError, match="its folder 'sub' is a link"):
        read_file(root, "sub/x.md", max_bytes=10)
    with pytest.raises(OSError, match=r"directory|symbolic"):
        remove(root, "sub/x.md")
    assert (outside / "x.md").exists()


@pytest.mark.parametrize("links", [True, False])
def test_what_was_not_kept_is_taken_back(tmp_path, monkeypatch, links):
    def no_links(*_arguments, **_options):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "x.md"
    with prepare(path, b"one") as prepared:
        prepared.create()
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with prepare(path, b"new") as prepared:
        prepared.replace()
    # Without hard links the old one cannot be had back, and the new one is better than none.
    assert path.read_bytes() == (b"old" if links else b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_editor_has_changed_meanwhile_is_not_taken_back(tmp_path):
    path = tmp_path / "x.md"
    with prepare(path, b"one") as prepared:
        prepared.create()
        path.write_bytes(b"edited")
    assert path.read_bytes() == b"edited"
    with prepare(path, b"two") as prepared:
        prepared.replace()
        path.write_bytes(b"edited again")
    assert path.read_bytes() == b"edited again"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_was_taken_in_vain_is_given_back(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with prepare(tmp_path / "x.md", b"one") as prepared, pytest.raises(PermissionError):
        prepared.create()
    assert list(tmp_path.iterdir()) == []
