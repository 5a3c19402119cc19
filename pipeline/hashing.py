"""Hashes of files of others, which may be large and are asked for again and again.

A file is read again unless the disk says that it is the one that was read: its size, both of its times and its inode.
One that was written just before it was read may be written again without a sign of it, so it is not remembered yet.
"""

import os
import time
from collections.abc import Iterator
from hashlib import blake2b, file_digest
from pathlib import Path

import msgspec

from pipeline.fingerprint import recall, remember

GRANULE = 2_000_000_000
"""Nanoseconds in which a disk may tell two writes by the same time; of those that are in use, the coarsest."""


class Read(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when it was read. A time that a program set itself, as `touch` does, has changed `changed`."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds, as the next one."""
    changed: int
    digest: bytes


Known = dict[str, Read]


def digest_of(place: Path, notes: Path) -> str:
    """A hash of a file, or of all files below a folder. `notes`: a folder where what was read is remembered."""
    memo = notes / blake2b(os.fsencode(place.absolute()), digest_size=16).hexdigest()
    known, found, told = recall(memo, Known) or {}, Known(), blake2b(digest_size=10)
    for path in _files(place):
        name = str(path.relative_to(place))
        one, sure = _read(path, known.get(name))
        told.update(f"{name}\0".encode() + one.digest)
        if sure:
            found[name] = one
    if found != known:
        remember(memo, found)
    return told.hexdigest()


def _files(place: Path) -> Iterator[Path]:
    yield from (path for path in (sorted(place.rglob("*")) if place.is_dir() else (place,)) if path.is_file())


def _read(path: Path, known: Read | None) -> tuple[Read, bool]:
    """The file, read only where it may not be the known one; and whether it shows if it is written from now on."""
    began = time.time_ns()
    with path.open("rb") as file:
        was = _as_told(os.fstat(file.fileno()))
        if known is not None and (known.device, known.inode, known.size, known.modified, known.changed) == was:
            return known, True
        digest = file_digest(file, "blake2b").digest()
        same = _as_told(os.fstat(file.fileno())) == was
    return Read(*was, digest), same and max(was[-2:]) + GRANULE < began


def _as_told(stat: os.stat_result) -> tuple[int, int, int, int, int]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
