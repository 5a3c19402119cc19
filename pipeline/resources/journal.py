"""What is finished of a partition before all of it is: values by name, each whole or not there.

A writer killed at any moment leaves what was finished; what comes after it goes on from there.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


class Journal:
    """A folder of values; names may hold slashes. Threads may share it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, value: bytes) -> None:
        """There for good once this returns."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix=".", dir=place.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, place)
        _sync(place.parent)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Of the values below a folder, in order."""
        for path in sorted((self.folder / prefix).rglob("[!.]*")):
            if path.is_file():
                yield path.relative_to(self.folder).as_posix()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
