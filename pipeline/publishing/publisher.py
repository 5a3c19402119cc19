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

    @property
    def address(self) -> str: ...

    def put(self, files: Mapping[str, Path], *, message: str) -> None:
        """Put these files (path in the dataset -> file) there; others stay. What is there already is not sent again."""
        ...
