"""Where partitions are kept: a disk of this machine, or an object store behind fsspec (`s3://`, `gs://`, `az://`, …).

On both, whenever a writer dies the partition is the old one or the new one: new files have names of their own, and the
manifest that names them is replaced last, in one step. They differ where two write one partition at once:

local disk    the second is refused at once: a lock, which dies with its process.
S3            the one that ends second is refused: the manifest is replaced only if it is still the one that was there
              when the write began (`If-Match`). The rows of the first stay.
other stores  fsspec has no such condition for them: the one that ends second wins, whole.
"""

import fcntl
import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.columns import Folder
from pipeline.errors import StoreError

if TYPE_CHECKING:
    from upath import UPath

MANIFEST = "manifest.json"
DAY = 86400
"""Seconds that an object store keeps files that no manifest names: somebody may be reading or writing them."""


class Draft(Protocol):
    """A partition being written."""

    work: Path
    """A folder of this machine for new files."""

    def lacks(self, file: str, name: str) -> bool:
        """Whether the partition does not hold this file of `work` under this name: it may have been damaged there."""
        ...

    def keep(self, file: str, name: str) -> None:
        """Put a file of `work` into the partition, under its name there."""
        ...

    def commit(self) -> None:
        """Replace the manifest by the one in `work`. Raises StoreError where somebody else has done so."""
        ...


class Disk(Protocol):
    """What a store needs of where it is."""

    def draft(self, place: Any) -> AbstractContextManager[Draft]: ...

    def work(self, place: Any) -> AbstractContextManager[Path]:
        """A folder of this machine for a while."""
        ...

    def put(self, file: Path, place: Any) -> None:
        """A file that is there whole or not at all."""
        ...

    def hold(self, place: Any) -> AbstractContextManager[None]:
        """One process of this machine at a time; waits."""
        ...


def disk_of(folder: Folder) -> Disk:
    return LocalDisk() if isinstance(folder, Path) else ObjectStore()


class LocalDisk:
    """Files are renamed into their place once their content has reached the disk."""

    @contextmanager
    def draft(self, place: Path) -> Iterator[Draft]:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place):
            _sweep(place)
            with self.work(place) as work:
                yield LocalDraft(place, work)

    @contextmanager
    def work(self, place: Path) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=place) as work:
            yield Path(work)

    def put(self, file: Path, place: Path) -> None:
        _sync(file)
        os.replace(file, place)
        _sync(place.parent)

    def hold(self, place: Path) -> AbstractContextManager[None]:
        place.mkdir(parents=True, exist_ok=True)
        return _alone(place, wait=True)


class LocalDraft:
    def __init__(self, place: Path, work: Path):
        self.place, self.work = place, work

    def lacks(self, file: str, name: str) -> bool:
        there = self.place / name
        return not there.exists() or not filecmp.cmp(self.work / file, there, shallow=False)

    def keep(self, file: str, name: str) -> None:
        LocalDisk().put(self.work / file, self.place / name)

    def commit(self) -> None:
        self.keep(MANIFEST, MANIFEST)


class ObjectStore:
    """Files are made on this machine, and uploaded: an object is there whole, or not at all."""

    @contextmanager
    def draft(self, place: "UPath") -> Iterator[Draft]:
        with self.work(place) as work:
            yield ObjectDraft(place, work)

    @contextmanager
    def work(self, place: "UPath") -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="tracemill-") as work:
            yield Path(work)

    def put(self, file: Path, place: "UPath") -> None:
        place.fs.put_file(str(file), place.path)

    def hold(self, place: "UPath") -> AbstractContextManager[None]:
        name = blake2b(str(place).encode(), digest_size=8).hexdigest()
        here = Path(tempfile.gettempdir()) / f"tracemill-{os.getuid()}-{name}"
        here.mkdir(mode=0o700, exist_ok=True)
        return _alone(here, wait=True)


class ObjectDraft:
    def __init__(self, place: "UPath", work: Path):
        self.place, self.work, self.manifest = place, work, place / MANIFEST
        self.seen = _etag(self.manifest)
        self.named = self.manifest.read_text() if self.seen else ""
        self.sweep()

    def sweep(self) -> None:
        """Take away what dead writers and superseded versions left, a day after."""
        old = time.time() - DAY
        for found in self.place.iterdir() if self.seen else ():
            data = found.name.startswith(("rows-", "rejects-"))
            if data and found.name not in self.named and found.stat().st_mtime < old:
                found.unlink()

    def lacks(self, file: str, name: str) -> bool:
        if name not in self.named:  # one that nobody names may be swept while we write
            return True
        try:  # by its size: all of it would have to be fetched
            return (self.place / name).stat().st_size != (self.work / file).stat().st_size
        except FileNotFoundError:
            return True

    def keep(self, file: str, name: str) -> None:
        ObjectStore().put(self.work / file, self.place / name)

    def commit(self) -> None:
        told = (self.work / MANIFEST).read_bytes()
        unchanged: dict[str, str] = {}
        if self.manifest.protocol == "s3":
            unchanged = {"IfMatch": self.seen} if self.seen else {"IfNoneMatch": "*"}
        try:
            self.manifest.fs.pipe_file(self.manifest.path, told, **unchanged)
        except OSError as error:
            if _refused(error):
                done = "another process wrote it meanwhile; nothing was replaced"
                raise StoreError(f"{self.place}: {done}") from error
            raise


def _etag(file: "UPath") -> str | None:
    """What S3 calls this version of an object; None where there is none."""
    try:
        return file.fs.info(file.path).get("ETag", "there")
    except FileNotFoundError:
        return None


def _refused(error: BaseException | None) -> bool:
    """Whether a store said that the condition does not hold."""
    while error is not None:
        code = getattr(error, "response", {}).get("Error", {}).get("Code")
        if code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _alone(place: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder: the lock dies with the process that has it."""
    with (place / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise StoreError(f"{place} is being written by another process; wait for it") from error
        yield


def _sweep(place: Path) -> None:
    """Take away what dead writers and superseded versions left."""
    manifest = place / MANIFEST
    named = manifest.read_text() if manifest.exists() else ""
    for path in place.iterdir():
        if path.name.startswith(".new-"):
            shutil.rmtree(path)
        elif path.name.startswith(("rows-", "rejects-")) and path.name not in named:
            path.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
