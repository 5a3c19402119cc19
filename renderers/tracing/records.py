"""How a template went: what a stage told and set, how the steps of a loop did, and the bounds of all that was asked.

A `State` is what a template has set where a stage begins; two are one where only numbers differ, which lie in `cells`.
What was told of it holds wherever these are within the `bounds` of what was asked of them (`watched`).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jinja2.utils import missing

from renderers.tracing.gathered import VALUES
from renderers.tracing.views import View, settled
from renderers.tracing.watched import ANY, Cell, Messages, Number

SAME = frozenset[str]()
"""No flag is another."""
Bounds = tuple[tuple[int, float, float], ...]
"""Between what a cell has to be, by its number: of those that were asked about."""


@dataclass(slots=True, eq=False)
class State:
    """What a template has set where a stage begins."""

    at: int
    """The number of the stage."""
    vars: dict[str, Any]
    view: View
    numbers: Sequence[Cell] = ()
    """Those of its cells that no other state has."""
    site: Hashable = None
    """What a loop can see, and where it is; of another stage it is None."""
    cells: Sequence[Cell] = ()
    """The numbers that it can see."""
    messages: Messages | None = None
    """What a loop over messages goes over."""
    runs: dict[tuple[int, int], list["Run"]] = field(default_factory=dict)
    """How a loop went, by where it began in the text, and in the conversation."""
    others: dict[tuple[int, int], list["Run"]] = field(default_factory=dict)
    """How it went where flags were others: that holds as far as nobody looked at them."""
    apart: frozenset[str] = frozenset()
    """These flags."""
    exact: dict[int, list["Known"]] = field(default_factory=dict)
    """What was told of it for this many messages alone."""
    wide: list["Known"] = field(default_factory=list)
    """What was told of it for more than that."""
    exits: dict[Hashable, "Exit"] = field(default_factory=dict)
    """Of a loop: where it leads, by what its steps have changed."""
    ends: dict[Hashable, Any] = field(default_factory=dict)
    """Its last steps, to be gone on with: by where it began, and whether with the generation prompt."""

    def enter(self, sources: Sequence[Any]) -> "State":
        """This state, with these numbers."""
        for at, source in enumerate(sources):  # `zip` would take longer than all of this
            self.numbers[at].value = source if type(source) is int else source._cell.value + source._more
        return self

    def known(self) -> "Known | None":
        """What was told alike."""
        cells = self.view.cells
        for known in reversed(self.wide):  # the next prefix is most like the last
            for at, low, high in known.bounds:  # as `within`
                if not low <= cells[at].value <= high:
                    break
            else:
                return known
        exact = self.exact.get(cells[0].value, ()) if self.exact else ()
        return next((known for known in exact if within(cells, known.bounds)), None)

    def keep(self, known: "Known") -> None:
        exactly = next((int(low) for at, low, high in known.bounds if not at and low == high), None)
        (self.wide if exactly is None else self.exact.setdefault(exactly, [])).append(known)

    def arrived(self, start: int, stop: int) -> "tuple[Step, int | None, int] | None":
        """How a loop over messages goes that others told alike. The last step that was told, as in the whole
        conversation, and how many are left: none, or one. Or the step that parts from it (None), and where it does,
        if that is before the character `stop`."""
        if self.messages is None:
            return None
        found, (begin, end) = None, self.messages._ends
        count = end - begin
        if count <= 0:
            return BEGIN, 0, 0
        cells, runs, others = self.cells, self.runs.get((start, begin), ()), self.others.get((start, begin), ())
        for at, run in enumerate((*runs, *others) if others else runs):
            steps, parted, other = run.steps, run.parted, self.apart if at >= len(runs) else SAME
            if parted is not None:
                if parted < count and run.same < stop and holds(steps[parted], cells, other):
                    return steps[parted], None, run.same
            elif len(steps) >= count:
                last = steps[count - 1]
                if holds(last, cells, other):
                    return last, 0, 0
                before = steps[count - 2] if count > 1 else BEGIN
                if not found and holds(before, cells, other):
                    found = before, 1, 0
        alone = count == 1 and not runs and type(self.messages._skipped) is Number  # few others begin at this place
        return (BEGIN, 1, 0) if alone else found


class Known(NamedTuple):
    """What a stage told and set."""

    bounds: Bounds
    text: str
    asked: frozenset[str]
    """The flags that it looked at."""
    after: State | None
    sources: Sequence[Any]
    """The numbers of the state after it."""
    refused: bool = False


class Exit(NamedTuple):
    """Where a loop leads."""

    after: State | None
    sources: Sequence[Any]
    places: Sequence[tuple[int, str] | None]
    """The namespace of the loop and the name in it that a number is of, if it is of one."""
    changed: tuple[dict[str, Any], ...]
    """What the loop had changed when this was found. It is held, so that no other can take its identity."""


class Step(NamedTuple):
    """One step of a loop is done. All is told since the loop began."""

    bounds: Bounds
    changed: tuple[dict[str, Any], ...]
    """What the loop has set so far, in every namespace that it can see."""
    shape: Hashable
    """The same where only numbers differ."""
    asked: frozenset[str]
    written: int
    text: str
    """Of this step alone."""
    seen: int = 0
    """How many items were looked at ahead of their steps."""


BEGIN = Step((), (), (), frozenset(), 0, "")
"""A loop that has not done anything yet."""


@dataclass(slots=True, eq=False)
class Run:
    """A loop, as far as it was told."""

    items: Sequence[Any]
    steps: list[Step] = field(default_factory=list)
    parted: int | None = None
    """The step in which it told what the whole conversation does not."""
    same: int = 0
    """How far it agrees with that."""
    broken: bool = False
    """It ended with its last step."""

    def valid(self, cells: Sequence[Cell], limit: int, other: frozenset[str]) -> int:
        """How many of its first steps hold for these numbers, and these other flags."""
        steps = self.steps
        high = min(limit, len(steps))
        if not high or holds(steps[high - 1], cells, other):
            return high
        if high == 1 or holds(steps[high - 2], cells, other):
            return high - 1
        low, high = 0, high - 2
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if holds(steps[middle - 1], cells, other) else (low, middle - 1)
        return low

    def branch(self, done: int) -> "Run":
        """Another, whose first steps are those of this one."""
        parted = self.parted if self.parted is not None and self.parted < done else None
        return Run(self.items, self.steps[:done], parted, self.same)


def bounds_of(cells: Sequence[Cell]) -> Bounds:
    found: list[tuple[int, float, float]] = []
    for at, cell in enumerate(cells):  # a comprehension would be slower
        if cell.bounds is not ANY:
            found.append((at, cell.bounds[0], cell.bounds[1]))
    return tuple(found)


def bind(cells: Sequence[Cell], bounds: Bounds) -> None:
    """All that was asked of these numbers so far."""
    for cell in cells:
        cell.bounds = ANY
    for at, low, high in bounds:
        cells[at].bounds = low, high


def within(cells: Sequence[Cell], bounds: Bounds) -> bool:
    for at, low, high in bounds:  # noqa: SIM110 (a third quicker than `all`)
        if not low <= cells[at].value <= high:
            return False
    return True


def holds(step: Step, cells: Sequence[Cell], other: frozenset[str]) -> bool:
    """Whether a step is told alike for these numbers, and these other flags."""
    for at, low, high in step[0]:
        if not low <= cells[at].value <= high:
            return False
    return not other or step.asked.isdisjoint(other)


class Steps:
    """How a loop goes on after a step, in namespaces that were put back to what they were then. cells: those to note
    the bounds of."""

    __slots__ = ("asked", "cells", "known", "last", "values", "view")

    def __init__(self, view: View, cells: Sequence[Cell], asked: set[str], last: Step):
        self.view, self.cells, self.asked, self.last = view, cells, asked, last
        self.values = self._values()
        """What the namespaces hold."""
        self.known = [cell.bounds for cell in cells] if cells else []

    def done(self, text: str, seen: int = 0) -> Step:
        """Another step is."""
        bounds, changed, shaped, asked, written, _, _ = self.last
        if self._set():
            changed = self._changed()
            self.values = self._values()
            shaped = shape(changed)
        for at, cell in enumerate(self.cells):
            if cell.bounds is not self.known[at]:
                self.known = [cell.bounds for cell in self.cells]
                bounds = bounds_of(self.cells)
                break
        if len(asked) != len(self.asked):
            asked = frozenset(self.asked)
        step = bounds, changed, shaped, asked, written + len(text), text, seen
        self.last = tuple.__new__(Step, step)  # a third of the time
        return self.last

    def _values(self) -> list[Any]:
        values: list[Any] = []
        for space in self.view.spaces:
            values += space.values()
        return values

    def _set(self) -> bool:
        """Whether a namespace holds something else than it did."""
        at, values = 0, self.values
        for space in self.view.spaces:
            for value in space.values():  # a plain loop is quicker than what would be shorter
                if at == len(values) or value is not values[at]:
                    return True
                at += 1
        return at != len(values)

    def _changed(self) -> tuple[dict[str, Any], ...]:
        changed: list[dict[str, Any]] = []  # `list[…]()` would take as long as all of this
        for at, space in enumerate(self.view.spaces):
            held, new = self.view.held[at], {}
            for name, value in space.items():
                if value is not held.get(name, missing):
                    new[name] = value if type(value) in VALUES else settled(value, self.view.fixed)
                    space[name] = new[name]
            changed.append(new)
        return tuple(changed)


def shape(changed: tuple[dict[str, Any], ...]) -> Hashable:
    """The same where only numbers of namespaces differ."""
    found: list[Hashable] = []
    for at, space in enumerate(changed):
        for name, value in space.items():
            kind = type(value)
            if kind not in VALUES:
                return id(changed)
            found.append((at, name, kind, None if kind is int else value))
    return tuple(found)
