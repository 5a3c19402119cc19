"""How many rows of each source a mixture takes: shares are kept true, whatever a source cannot fill."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import SettingsError

WHOLE = {"percentage": 100.0, "proportion": 1.0}
"""What shares of a kind add up to; weights have no sum."""


def shares(entries: Mapping[str, Mapping[str, Any]]) -> list[float] | None:
    """The share of each source, of 1; None where none is asked for.

    Each entry may have a `percentage` (0 to 100), a `proportion` (0 to 1) or a `weight` (any), all of them the same.
    What percentages and proportions leave is shared by sources that name none. Raises SettingsError naming the source.
    """
    kinds = {kind for entry in entries.values() for kind in (*WHOLE, "weight") if kind in entry}
    if not kinds:
        return None
    if len(kinds) > 1:
        raise SettingsError(f"a mixture in {' and '.join(sorted(kinds))}: say all shares in one of them")
    kind = kinds.pop()
    asked = {name: entry.get(kind) for name, entry in entries.items()}
    if bad := [name for name, share in asked.items() if share is not None and not _is_share(share)]:
        cure = "give a number above 0, or leave the source out"
        raise SettingsError(f"source {bad[0]}: {kind}: {asked[bad[0]]!r} is no share; {cure}")
    given, open_ = sum(share for share in asked.values() if share), [n for n, share in asked.items() if share is None]
    if open_ and kind == "weight":
        raise SettingsError(f"source {open_[0]}: it has no weight, and the others have: give it one")
    left = WHOLE.get(kind, given) - given
    if left < -1e-9 or (open_ and left <= 0):
        cure = f"leave something to {', '.join(open_)}" if open_ else "lower them, or ask in weights"
        raise SettingsError(f"{kind}s add up to {given:g} of {WHOLE[kind]:g}: {cure}")
    told = [left / len(open_) if share is None else share for share in asked.values()]
    return [share / sum(told) for share in told]


def _is_share(share: Any) -> bool:
    return isinstance(share, int | float) and not isinstance(share, bool) and math.isfinite(share) and share > 0


def counts(available: Sequence[int], wanted: Sequence[float], limit: int | None = None) -> list[int]:
    """Rows of each source: as many as there can be with these shares, to a row. `limit`: of them all."""
    most = int(min(rows / share for rows, share in zip(available, wanted, strict=True)) + 1e-9)
    exact = [min(most, most if limit is None else limit) * share for share in wanted]
    taken = [int(part + 1e-9) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda k: taken[k] - exact[k])
    for k in by_remainder[: round(sum(exact)) - sum(taken)]:
        taken[k] += 1
    return taken
