"""What many changes have in common: a few causes, each with its smallest example, both sides of it.

A cause is named as closely as a few names will do: by the words that came or went, or by those of the template alone,
else by what the tokens are, else by what became of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from pipeline.comparing.changes import KINDS, Change, Side, changes
from renderers.segments import Kind
from renderers.tokenizer import Tokenizer

MOST, ENOUGH = 10, 0.95
"""So many causes must cover so much of all changes."""
AROUND = 12
"""Tokens shown on either side of a change."""
MOST_SHOWN = 60
"""Tokens of a change that are shown."""
SPELLED = 40
"""Tokens that can name a cause."""
MOST_NAMES = 10_000
"""Causes that are told apart; there are no ten of them that cover much where there are more."""


class Piece(msgspec.Struct, frozen=True):
    """A run of an example's text."""

    text: str
    kind: Kind
    trained: bool
    changed: bool


class Example(msgspec.Struct, frozen=True):
    """A change as both sides have it."""

    row: str
    size: int
    """Tokens of the row."""
    was: tuple[Piece, ...]
    now: tuple[Piece, ...]


class Cause(msgspec.Struct):
    """Changes that are alike."""

    name: str
    changes: int = 0
    rows: int = 0
    tokens: int = 0
    example: Example | None = None

    def see(self, example: Example) -> None:
        if self.example is None or example.size < self.example.size:
            self.example = example


class Diff(msgspec.Struct):
    """What two renderings of many rows differ in."""

    unchanged: int = 0
    """Rows that are the same, token by token and label by label."""
    changed: int = 0
    appeared: int = 0
    """Rows that only the new side has,"""
    gone: int = 0
    """and those that only the old one has."""
    tokens_added: int = 0
    tokens_removed: int = 0
    flips: dict[str, int] = {}
    """Tokens that stayed and are learned now, or no longer, by kind: `stop now trained`."""
    changes: int = 0
    covered: float = 1.0
    """Of the changes, how much `causes` are."""
    causes: list[Cause] = []
    """The largest first."""

    @property
    def empty(self) -> bool:
        return not (self.changed or self.appeared or self.gone)


class Tally:
    """Differences being counted, row by row, of as many partitions as are given."""

    def __init__(self) -> None:
        self.diff = Diff()
        self.flips: Counter[str] = Counter()
        self.levels: tuple[dict[str, Cause], ...] = ({}, {}, {}, {})

    def add(self, old: Side | None, new: Side | None, tokenizer: Tokenizer) -> None:
        """One row of either side, or of both."""
        if old is None or new is None:
            self.diff.appeared += old is None
            self.diff.gone += new is None
            return
        found = changes(old, new)
        self.diff.changed += bool(found)
        self.diff.unchanged += not found
        seen: set[tuple[int, str]] = set()
        for change in found:
            self._count(change)
            for level, name in enumerate(_names(change, old, new, tokenizer)):
                cause = self._cause(level, name)
                cause.changes += 1
                cause.tokens += max(change.was[1] - change.was[0], change.now[1] - change.now[0])
                if (level, name) not in seen:
                    seen.add((level, name))
                    cause.rows += 1
                    if cause.example is None or len(new.ids) < cause.example.size:
                        cause.see(_example(change, old, new, tokenizer))

    def _cause(self, level: int, name: str) -> Cause:
        known = self.levels[level]
        if name not in known and len(known) >= MOST_NAMES:
            name = "anything else"
        return known.setdefault(name, Cause(name))

    def _count(self, change: Change) -> None:
        self.diff.changes += 1
        if change.op.endswith("trained"):
            self.flips[f"{change.kind} {change.op}"] += change.now[1] - change.now[0]
        elif change.op != "called otherwise":
            self.diff.tokens_removed += change.was[1] - change.was[0]
            self.diff.tokens_added += change.now[1] - change.now[0]

    def result(self) -> Diff:
        """Counted so far, with the closest names of which a few cover enough."""
        ranked = (sorted(level.values(), key=lambda c: (-c.changes, c.name))[:MOST] for level in self.levels)
        options = [(sum(cause.changes for cause in causes), causes) for causes in ranked]
        total = self.diff.changes
        covered, causes = next(o for o in options if o[0] >= ENOUGH * total)
        share = covered / total if total else 1.0
        return msgspec.structs.replace(self.diff, flips=dict(sorted(self.flips.items())), covered=share, causes=causes)


def compare(pairs: Iterable[tuple[Side | None, Side | None]], tokenizer: Tokenizer) -> Diff:
    """The difference of two renderings, given row by row."""
    tally = Tally()
    for old, new in pairs:
        tally.add(old, new, tokenizer)
    return tally.result()


def _names(change: Change, old: Side, new: Side, tokenizer: Tokenizer) -> Iterator[str]:
    """The change's cause, from the closest name to the widest."""
    sides = [(side, *where) for side, where in ((old, change.was), (new, change.now)) if where[0] < where[1]]
    kinds = dict.fromkeys(" and ".join(dict.fromkeys(_kinds(*side))) for side in sides)
    named = f"{' → '.join(kinds)} {change.op}"
    short = all(end - start <= SPELLED for _, start, end in sides)
    words = " → ".join(dict.fromkeys(repr(tokenizer.decode(side.ids[a:b])) for side, a, b in sides)) if short else ""
    yield f"{named}: {words}" if words else named
    yield f"{named}: {words}" if words and all(_templates(*side, tokenizer) for side in sides) else named
    yield named
    yield change.op


def _kinds(side: Side, start: int, end: int) -> list[Kind]:
    return [KINDS[kind] for kind in side.kinds[start:end].tolist()]


def _templates(side: Side, start: int, end: int, tokenizer: Tokenizer) -> bool:
    """Words of the template, or blanks: what people said differs from row to row."""
    return (
        set(_kinds(side, start, end)) <= {Kind.SCAFFOLD, Kind.STOP} or tokenizer.decode(side.ids[start:end]).isspace()
    )


def _example(change: Change, old: Side, new: Side, tokenizer: Tokenizer) -> Example:
    was, now = (tuple(_pieces(side, *where, tokenizer)) for side, where in ((old, change.was), (new, change.now)))
    return Example(new.row.id, len(new.ids), was, now)


def _pieces(side: Side, start: int, end: int, tokenizer: Tokenizer) -> Iterator[Piece]:
    """The change on one side, and what stands around it, cut where kind or fate changes."""
    first, last = max(0, start - AROUND), min(len(side.ids), end + AROUND)
    cut = min(end, start + MOST_SHOWN)
    at = [*range(first, cut), *range(end, last)]
    state = [(int(side.kinds[n]), bool(side.trained[n]), start <= n < end) for n in at]
    begin = 0
    for n in range(1, len(at) + 1):
        if n == len(at) or state[n] != state[begin]:
            kind, trained, changed = state[begin]
            text = tokenizer.decode(side.ids[at[begin:n]])
            yield Piece(text + (" …" if changed and cut < end else ""), KINDS[kind], trained, changed)
            begin = n
