"""A dataset in a local folder, as `datasets.load_dataset(folder, config)` opens it."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from pipeline.publishing.publisher import Change


class Folder:
    """Each file is replaced whole, one publisher at a time; what tells of the others is put last."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def address(self) -> str:
        return str(self.folder)

    def swap(self, name: str, change: Callable[[bytes | None], Change], *, message: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.folder.with_name(f".{self.folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = self.folder / name
            wanted = change(held.read_bytes() if held.exists() else None)
            for path, content in wanted.put.items():
                self._put(self.folder / path, content if isinstance(content, bytes) else content.read_bytes())
            for path in wanted.gone:
                (self.folder / path).unlink(missing_ok=True)

    def _put(self, place: Path, content: bytes) -> None:
        if place.exists() and place.stat().st_size == len(content) and place.read_bytes() == content:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.new")
        beside.write_bytes(content)
        os.replace(beside, place)
