"""What is known of partitions: a manifest in the store, a shard of the dataset."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.records.row import Row


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stored partition: what it holds, and what it was made from."""

    asset: str
    batch: str
    code_version: str
    data_version: str
    """`<code version>.<hash of the logical rows and rejects>`"""
    inputs: dict[str, str] = msgspec.field(default_factory=dict)
    """Upstream asset -> the data version it had. `file` -> the hash of the batch file, for prompts."""
    rows_in: int | None = None
    """Upstream rows, where each must be kept or rejected."""
    rows: int
    rejects: dict[str, int] = msgspec.field(default_factory=dict)
    """By reason."""
    measures: dict[str, int] = msgspec.field(default_factory=dict)
    """Sums of the rows' own."""
    rows_file: str
    rejects_file: str
    bytes: int
    previous: "Manifest | None" = None
    """What these rows replaced: kept while they stand, so that both can be compared."""


class Shard(Row, frozen=True, kw_only=True):
    """What a batch gives one config of the dataset, as published. `id` is `<config>/<batch>`."""

    config: str
    batch: str
    rows: dict[str, int]
    """By split."""
    root: str
    """sha256 of the logical rows, whatever wrote the files."""
    files: dict[str, str]
    """Path in the dataset -> sha256 of the file."""
    target: dict[str, Any] = msgspec.field(default_factory=dict)
    """The settings that it was rendered for."""
    renderer: str = ""
    """What rendered it: a hash of how it behaves."""
    tools: tuple[dict[str, Any], ...] = ()
    """The tool specs that its rows were offered, each once."""
    summary: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the audits counted in its rows."""
    sources: dict[str, str] = msgspec.field(default_factory=dict)
    """The rows' hash of every partition on the way to it: what code made them is no part of a dataset."""
    measured: dict[str, int] = msgspec.field(default_factory=dict)
    """Sums over its rows: messages, tokens, trained tokens by kind."""
    rejects: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows that left on the way to this shard, by stage and reason."""

    def measures(self) -> Mapping[str, int]:
        return {"shards": 1}
