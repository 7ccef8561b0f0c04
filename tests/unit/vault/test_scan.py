"""A folder is walked in order, to its edges and no further."""

import errno
import os

from pyrite.vault.files import stamp_of
from pyrite.vault.scan import scan


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def problems(result):
    return {problem.path: problem.reason for problem in result.problems}


def test_entry_files_are_found_in_order(tmp_path):
    write(tmp_path, "b.md", "a/z.MD", "a/b/c.markdown", "B.md", "é.md", "a.txt", "x.md/y.md",
          ".hidden.md", ".git/x.md", "a/.pyrite-1.tmp", "README", "md")  # fmt: skip
    result = scan(tmp_path)
    assert [(file.path, file.id) for file in result.found] == [
        ("B.md", "B"),
        ("a/b/c.markdown", "a/b/c"),
        ("a/z.MD", "a/z"),
        ("b.md", "b"),
        ("x.md/y.md", "x.md/y"),
        ("é.md", "é"),
    ]
    assert result.problems == []
    assert all(file.stamp == stamp_of(tmp_path / file.path) for file in result.found)


def test_of_several_files_with_an_id_the_first_has_it(tmp_path):
    write(tmp_path, "a.md", "a.markdown", "A.md", "Cafe\u0301.md", "Caf\u00e9.md", "a.MD")
    result = scan(tmp_path)
    assert [file.path for file in result.found] == ["A.md", "Cafe\u0301.md", "a.MD"]
    assert problems(result) == {
        "a.markdown": "it has the same id, 'a', as 'a.MD'; rename one of them",
        "a.md": "it has the same id, 'a', as 'a.MD'; rename one of them",
        "Caf\u00e9.md": "it has the same id, 'Caf\u00e9', as 'Cafe\u0301.md'; rename one of them",
    }


def test_links_do_not_lead_out_or_around(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "root-and-more"
    write(root, "a/x.md")
    write(outside, "secret.md", "secret.txt")
    (root / "around").symlink_to(root)
    (root / "a" / "up").symlink_to("..")
    (root / "same.md").symlink_to("a/x.md")
    (root / "out").symlink_to(outside)
    (root / "out.md").symlink_to(outside / "secret.md")
    (root / "out.txt").symlink_to(outside / "secret.txt")
    (root / "broken.md").symlink_to("nowhere")
    (root / "broken").symlink_to("nowhere")
    (root / "itself").symlink_to("itself")
    (root / "itself.md").symlink_to("itself.md")
    result = scan(root)
    assert [file.path for file in result.found] == ["a/x.md"]
    assert problems(result) == {
        "broken.md": "it is a link that leads nowhere; remove it, or put a file in its place",
        "itself.md": "it is a link that leads nowhere; remove it, or put a file in its place",
        "out": "it is a link out of the knowledge base; put the folder itself here",
        "out.md": "it is a link out of the knowledge base; put the file itself here",
    }
    assert result.unreadable_folders == []


def test_a_root_may_be_a_link(tmp_path):
    write(tmp_path, "real/x.md")
    (tmp_path / "real" / "y.md").symlink_to("x.md")
    (tmp_path / "link").symlink_to("real")
    result = scan(tmp_path / "link")
    assert [file.path for file in result.found] == ["x.md"]
    assert result.problems == []


def test_what_is_no_file_or_has_no_proper_name_is_a_problem(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    write(tmp_path, "two\nlines.md", "back\\slash.md", " x.md", "x.md.md", "in \x1b/y.md")
    (tmp_path / os.fsdecode(b"caf\xe9.md")).touch()
    (tmp_path / os.fsdecode(b"d\xff")).mkdir()
    result = scan(tmp_path)
    found = problems(result)
    assert result.found == []
    assert set(found) == {
        "pipe.md", r"two\nlines.md", r"back\slash.md", " x.md", "x.md.md", r"in \x1b/y.md",
        r"caf\xe9.md", r"d\xff",
    }  # fmt: skip
    assert found["pipe.md"] == "it is a pipe, socket or device, not a file"
    assert found[r"caf\xe9.md"] == "its name is not UTF-8; rename it"
    assert "white space; rename it" in found[" x.md"]
    assert all(text.isprintable() for pair in found.items() for text in pair)


def test_a_folder_that_cannot_be_listed_is_a_problem_and_a_gap(tmp_path, monkeypatch):
    write(tmp_path, "a/x.md", "closed/sub/y.md", "gone/z.md")
    real = os.scandir

    def listing(path):
        if path.rstrip("/").endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        if path.rstrip("/").endswith("gone"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return real(path)

    monkeypatch.setattr(os, "scandir", listing)
    result = scan(tmp_path)
    assert [file.path for file in result.found] == ["a/x.md"]
    assert result.unreadable_folders == ["closed/"]
    assert problems(result) == {"closed": "the folder cannot be listed: Permission denied"}


def test_nothing_is_known_of_a_root_that_is_not_there(tmp_path):
    result = scan(tmp_path / "missing")
    assert result.unreadable_folders == [""]
    assert problems(result) == {".": "the folder cannot be listed: No such file or directory"}
