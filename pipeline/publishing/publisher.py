"""What a publication needs of the world: partitions to read, and a place to put files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.records import Manifest, Reject, Row

R = TypeVar("R", bound=Row)


class Partitions(Protocol):
    """Stored partitions."""

    def manifest(self, asset: str, batch: str) -> Manifest | None: ...

    def read(self, asset: str, batch: str, row: type[R]) -> Iterator[R]: ...

    def rejects(self, asset: str, batch: str) -> Iterator[Reject]: ...

    def batches(self, asset: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Change:
    """Files to put (path in the dataset -> file, or what it holds) and files that are no more; others stay."""

    put: Mapping[str, Path | bytes]
    gone: frozenset[str] = frozenset()


class Publisher(Protocol):
    """A place where datasets are."""

    @property
    def address(self) -> str: ...

    def swap(self, name: str, change: Callable[[bytes | None], Change], *, message: str) -> None:
        """Compare and swap: make the change of what the file `name` holds now, all at once, or again if another came
        between. `change` gets None where there is no such file. What is there already is not sent again.

        Raises PublicationRefused.
        """
        ...
