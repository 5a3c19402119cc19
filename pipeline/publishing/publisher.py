"""What a publication needs of the world: partitions to read, and a place to put files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.records import Manifest, Row

R = TypeVar("R", bound=Row)


class Partitions(Protocol):
    """Stored partitions."""

    def manifest(self, asset: str, batch: str) -> Manifest | None: ...

    def read(self, asset: str, batch: str, row: type[R]) -> Iterator[R]: ...

    def batches(self, asset: str) -> list[str]: ...


class Publisher(Protocol):
    """A place where datasets are."""

    def put(self, files: Mapping[str, Path], *, message: str) -> str:
        """Put these files (path in the dataset -> file) there; others stay. Files that are there already are not sent.

        Returns the address of the dataset.
        """
        ...
