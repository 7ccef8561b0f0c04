"""A disk as it may look after the power failed, rebuilt from recorded system calls.

What `fsync` was called for is there. Of everything else any part may be: each sector of data that
was written since, and each change of a folder, in any combination. A file's own `fsync` does not
make its name durable; that of its folder does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: The calls that change a disk, or tell where in a file the next one does.
CALLS = (
    "open,openat,creat,read,write,pwrite64,writev,pwritev,lseek,truncate,ftruncate,fallocate,fsync,"
    "fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "sync_file_range,copy_file_range,sendfile"
)
_SECTOR = 512
_UNKNOWN = {"writev", "pwritev", "fallocate", "copy_file_range", "sendfile", "creat"}


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that did not fail."""

    name: str
    args: tuple[bytes, ...]
    result: bytes


def calls(log: Path) -> Iterator[Call]:
    """The calls of a log of ``strace -f -xx -y``, in the order in which they ended."""
    begun: dict[str, str] = {}
    with log.open(encoding="ascii") as lines:
        for line in lines:
            pid, _, text = line.rstrip("\n").partition(" ")
            text = text.lstrip()
            if text.endswith("<unfinished ...>"):
                begun[pid] = text.removesuffix("<unfinished ...>")
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
                text = begun.pop(pid) + text[resumed.end() :]
            found = re.fullmatch(r"(\w+)\((.*)\)\s+= (\d\S*)(?: .*)?", text)
            if found:
                name, args, result = found.groups()
                yield Call(name, tuple(map(_plain, args.split(", "))), _plain(result))


def _plain(text: str) -> bytes:
    """An argument with its bytes in place of their numbers, without quotation marks."""
    if "..." in text:
        raise ValueError("the recording was cut short")
    return re.sub(
        rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text.strip().strip('"').encode()
    )


def _number_and_path(arg: bytes) -> tuple[int, str]:
    """A descriptor, as ``3<PATH>``."""
    number, _, path = arg.partition(b"<")
    return int(number) if number.isdigit() else -1, path.removesuffix(b">").decode()


@dataclass(slots=True, eq=False)
class File:
    """A file's bytes, by whatever names it has."""

    safe: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    #: Since then: data at an offset, or a new size.
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        self.pending.append((offset, data))
        _put(self.now, offset, data)

    def truncate(self, size: int) -> None:
        self.pending.append((size, None))
        _resize(self.now, size)

    def sync(self) -> None:
        self.safe, self.pending = bytes(self.now), []

    def after_loss(self, chance: random.Random, part: float) -> bytes:
        """What may be left, of what is not safe about such a part of the sectors."""
        left = bytearray(self.safe)
        for offset, data in self.pending:
            if data is None:
                if chance.random() < part:
                    _resize(left, offset)
                continue
            start = 0
            while start < len(data):
                end = min(len(data), start + _SECTOR - (offset + start) % _SECTOR)
                if chance.random() < part:
                    _put(left, offset + start, data[start:end])
                start = end
        return bytes(left)


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


#: Names that come (with their file; None is a folder) or go (False).
Change = dict[str, File | bool | None]


class Disk:
    """The files below one folder, as processes see them and as they are certain to be."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.names: dict[str, File | None] = {}
        for path in root.rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            self.names[str(path)] = File(data, bytearray(data)) if path.is_file() else None
        self.safe_names = dict(self.names)
        self.pending: list[Change] = []
        self._offsets: dict[int, int] = {}

    def apply(self, call: Call) -> bool:
        """Do what a call did; whether it may have changed the disk."""
        name, args = call.name, call.args
        if name in {"open", "openat"}:
            return self._open(call)
        if name in {"read", "write", "lseek", "pwrite64", "ftruncate", "fsync", "fdatasync"}:
            number, path = _number_and_path(args[0])
            return self._on_descriptor(name, number, path, call)
        if name in {"mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"}:
            (path,) = self._paths(name, args, 1)
            return self._change({path: None if name.startswith("mkdir") else False})
        if name.startswith(("rename", "link")):
            source, target = self._paths(name, args, 2)
            if not self._is_here(source):
                return False
            moved = self.names[source]
            gone: Change = {source: False} if name.startswith("rename") else {}
            return self._change({target: moved} | gone)
        if any(self.root.encode() in arg for arg in args):
            raise ValueError(f"{name} is not known to this disk")
        return False

    def _open(self, call: Call) -> bool:
        flags = b" ".join(call.args)
        number, path = _number_and_path(call.result)
        self._offsets[number] = 0
        if not self._is_here(path):
            return False
        made = b"O_CREAT" in flags and path not in self.names
        if made:
            self._change({path: File()})
        file = self.names.get(path)
        if file is not None and b"O_TRUNC" in flags and file.now:
            file.truncate(0)
            return True
        return made

    def _on_descriptor(self, name: str, number: int, path: str, call: Call) -> bool:
        result = int(call.result)
        if name == "lseek":
            self._offsets[number] = result
        if name == "fsync" and path in {self.root, *self.names} and self.names.get(path) is None:
            return self._sync_folder(path)
        file = self.names.get(path) if self._is_here(path) else None
        offset = self._offsets.get(number, 0)
        if name in {"read", "write"}:
            self._offsets[number] = offset + result
        if file is None:
            return False
        if name in {"write", "pwrite64"}:
            data = b", ".join(call.args[1 : len(call.args) - (1 if name == "write" else 2)])
            file.write(int(call.args[3]) if name == "pwrite64" else offset, data[:result])
        elif name == "ftruncate":
            file.truncate(int(call.args[1]))
        elif name in {"fsync", "fdatasync"}:
            file.sync()
        return name not in {"read", "lseek"}

    def _sync_folder(self, folder: str) -> bool:
        waiting, self.pending = self.pending, []
        for change in waiting:
            if any(str(Path(path).parent) == folder for path in change):
                _rename(self.safe_names, change)
            else:
                self.pending.append(change)
        return True

    def _paths(self, name: str, args: tuple[bytes, ...], number: int) -> list[str]:
        if "at" not in name:
            return [arg.decode() for arg in args[:number]]
        pairs = zip(args[0 : 2 * number : 2], args[1 : 2 * number : 2], strict=True)
        return [str(Path(_number_and_path(folder)[1]) / path.decode()) for folder, path in pairs]

    def _is_here(self, path: str) -> bool:
        # The index of the log is made anew from the log by whoever opens the database first.
        return path.startswith(self.root + "/") and not path.endswith("-shm")

    def _change(self, change: Change) -> bool:
        if not all(map(self._is_here, change)):
            return False
        self.pending.append(change)
        _rename(self.names, change)
        return True

    def after_loss(self, chance: random.Random, part: float) -> dict[str, bytes | None]:
        """Files, and folders as None, as they may be left; about such a part of what is unsafe."""
        names = dict(self.safe_names)
        for change in self.pending:
            if chance.random() < part:
                _rename(names, change)
        return {
            path: None if file is None else file.after_loss(chance, part)
            for path, file in names.items()
        }


def _rename(names: dict[str, File | None], change: Change) -> None:
    for path, file in change.items():
        if isinstance(file, bool):
            names.pop(path, None)
        else:
            names[path] = file


def build(content: dict[str, bytes | None]) -> None:
    """Make the files and folders, of which those above them may be missing."""
    for path, data in sorted(content.items()):
        # What is in a folder that was lost is lost with it.
        if not Path(path).parent.is_dir():
            continue
        if data is None:
            Path(path).mkdir()
        else:
            Path(path).write_bytes(data)
