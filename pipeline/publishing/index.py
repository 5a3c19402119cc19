"""`tracemill.json`: what a dataset holds, of which batch, made how: what publishers swap, and `verify` believes.

It has the hash of every file, its own included; who wants to be sure remembers its hash, or a commit.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import PublicationRefused
from pipeline.publishing.proofs import sha
from pipeline.records import Shard

INDEX = "tracemill.json"
SEAL = "sha256"
FORMAT = 1


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was published."""

    format: int = FORMAT
    shards: tuple[Shard, ...] = ()
    """By id."""
    files: dict[str, str] = {}
    """What tells of the whole, the card: path -> sha256."""

    def but(self, batch: str, shards: Iterable[Shard]) -> "Index":
        """This index with other shards of a batch, and nothing said of the whole yet."""
        others = [shard for shard in self.shards if shard.batch != batch]
        return Index(shards=tuple(sorted([*others, *shards], key=lambda shard: shard.id)))

    @property
    def paths(self) -> dict[str, str]:
        """Every file and its sha256, but for the index."""
        return {**self.files, **{path: told for shard in self.shards for path, told in shard.files.items()}}


def write_index(index: Index) -> bytes:
    return _sealed(msgspec.to_builtins(index))


def read_index(data: bytes) -> Index:
    """Raises PublicationRefused where it is no index, or was changed by hand."""
    try:
        told = json.loads(data)
        found = msgspec.convert(told, Index)
        untouched = _sealed({name: value for name, value in told.items() if name != SEAL}) == data
    except (ValueError, TypeError, AttributeError) as error:
        raise PublicationRefused(f"{INDEX} is none of ours: {error}") from error
    if found.format != FORMAT:
        raise PublicationRefused(
            f"{INDEX}: format {found.format}; this Tracemill knows {FORMAT}: use the one that wrote it"
        )
    if not untouched:
        raise PublicationRefused(
            f"{INDEX} is not what was published: its hash does not fit; go back to an earlier commit"
        )
    return found


def published(folder: Path, batch: str) -> list[str]:
    """The files that a dataset in a folder should have of a batch, and of the whole."""
    index = folder / INDEX
    if not index.exists():
        return []
    found = read_index(index.read_bytes())
    return [*found.files, *(path for shard in found.shards if shard.batch == batch for path in shard.files)]


def _sealed(told: Mapping[str, Any]) -> bytes:
    plain = _spelled(told)
    return _spelled({**told, SEAL: sha(plain)})


def _spelled(told: Mapping[str, Any]) -> bytes:
    return (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
