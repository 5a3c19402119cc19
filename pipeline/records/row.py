"""What the rows of every stage have, and the row that says why another left."""

from collections.abc import Mapping

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What every stage's rows have."""

    id: str
    """Stable: derived from what the row is made of, never from when or where."""

    @property
    def source(self) -> str:
        """The row of the stage above that it was made from, where each of those is kept or rejected."""
        return self.id

    def measures(self) -> Mapping[str, int]:
        """Numbers that the store adds up over a partition (tokens, trained tokens by kind, …)."""
        return {}


class Reject(Row, frozen=True, kw_only=True):
    """A row that left the pipeline, with its reason."""

    stage: str
    reason: str
    """A short code that can be counted: `invalid_json`, `no_target`, `too_long`."""
    detail: str
    """File, line, field and cure, for people."""
