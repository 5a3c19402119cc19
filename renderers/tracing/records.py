"""How the loops of a telling went: what was written after each step, and how far a longer conversation goes alike.

A step is good for every conversation that has the same items so far, in which the loop has the same `View`, and whose
numbers are within the `bounds` of what was asked of them (`watched`).
"""

import operator
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.utils import missing

from renderers.tracing.environment import DictMaker, Namespace
from renderers.tracing.watched import ANY, Cell, Messages, Number

VALUES = frozenset({str, int, bool, float, type(None)})
FIXED = (type, FunctionType, MethodType, BuiltinFunctionType, DictMaker, type(missing))


class Strange(TypeError):
    """Nobody knows whether this stays what it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a loop is done."""

    written: int
    """Characters since the loop began."""
    bounds: tuple[tuple[float, float], ...]
    """Of every cell that the loop can see."""
    changed: tuple[dict[str, Any], ...]
    """What the loop has set so far, in every namespace that it can see."""
    asked: frozenset[str]
    """The flags that the template has looked at, here or before."""


@dataclass(slots=True)
class Telling:
    """One prefix being told."""

    sofar: Cell
    """How many messages it has."""
    records: dict[Hashable, "Rest"] | None
    """How each loop went last, for every view it had; None: what is told now has nothing to do with what was."""
    of_tools: dict[Hashable, "Rest"]
    """The same of loops over tools, which are those of everything told."""
    last: Any
    """The last message."""
    spelled: dict[Hashable, tuple[Any, str]]
    """What was spelled as JSON, or by a macro, by what it was made of, which is held."""
    pieces: list[str] = field(default_factory=list)
    written: int = 0
    asked: frozenset[str] = frozenset()
    """The flags that the template has looked at so far."""
    looped: bool = False
    """A loop has begun, and the bounds of `sofar` with it."""


class View:
    """What a loop can see: keys that are equal where it is the same, and the numbers and namespaces met on the way."""

    def __init__(self, values: Sequence[Any], cells: list[Cell]):
        self.values, self.cells = values, cells
        """Values are held, so that no other can take the identity of one."""
        self.spaces: list[dict[str, Any]] = []
        self.met: dict[int, int] = {}
        self.keys = tuple(map(self.key, values))

    def key(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in VALUES:
            return kind, value
        if kind is dict or kind in FIXED:
            return id(value)
        if kind is Number:
            return kind, self._cell(value._cell), value._more
        if kind is Messages:
            return kind, self._cell(value._sofar), value._skipped
        if kind is Macro:
            return id(value._func.__code__)
        if isinstance(value, Undefined):
            return kind, value._undefined_name
        return self._container(value)

    def _cell(self, cell: Cell) -> int:
        if cell not in self.cells:
            self.cells.append(cell)
        return self.cells.index(cell)

    def _container(self, value: Any) -> Hashable:
        if id(value) in self.met:
            return "met", self.met[id(value)]
        self.met[id(value)] = len(self.met)
        if isinstance(value, (list, tuple)):
            return type(value), *map(self.key, value)
        if not isinstance(value, Namespace):
            raise Strange(type(value))
        space = value.__dict__
        self.spaces.append(space)
        for name, held in space.items():
            if type(held) in (int, Number):
                space[name] = Number(Cell(operator.index(held)))
        return Namespace, *space, *map(self.key, space.values())


class Rest:
    """A loop, taken up where an earlier one would have gone on alike; while it goes on, the record for the next."""

    def __init__(
        self, telling: Telling, records: dict[Hashable, "Rest"], site: int, items: list[Any], count: Number, view: View
    ):
        self.telling, self.items, self.count, self.view = telling, items, count, view
        self.began, self.start, self.text, telling.looped = telling.written, 0, "", True
        self.first = self.upto = len(telling.pieces)
        """Its pieces, as far as its last step."""
        self.steps: list[Step] = []
        for cell in view.cells:
            cell.bounds = ANY
        self.before = [dict(space) for space in view.spaces]
        known = records.get((site, view.keys))
        records[site, view.keys] = self
        self.worth = known is None or items[:1] == known.items[:1]
        """A loop that starts elsewhere each time, at the last message, say, is not worth a record."""
        if known and self.worth:
            self._take_up(known)

    def _take_up(self, known: "Rest") -> None:
        values = [cell.value for cell in self.view.cells]
        same = [*map(operator.is_, self.items[: len(known.steps)], known.items), False].index(False)
        fits = (done for done in range(same, 0, -1) if _within(values, known.steps[done - 1].bounds))
        self.start = next(fits, 0)
        self.steps = known.steps[: self.start]
        if not self.steps:
            return
        step = self.steps[-1]
        self.text = "".join(known.telling.pieces[known.first : known.upto])[: step.written]
        self.upto = self.first + 1  # this text is its first piece
        self.telling.asked |= step.asked
        for cell, bounds in zip(self.view.cells, step.bounds, strict=True):
            cell.bounds = bounds
        for space, changed in zip(self.view.spaces, step.changed, strict=True):
            space.update(changed)

    def done(self) -> None:
        """A step is over."""
        changed = tuple(
            {name: settled(value) for name, value in space.items() if value is not before.get(name, missing)}
            for space, before in zip(self.view.spaces, self.before, strict=True)
        )
        bounds, self.upto = tuple(cell.bounds for cell in self.view.cells), len(self.telling.pieces)
        self.steps.append(Step(self.telling.written - self.began, bounds, changed, self.telling.asked))


def _within(values: Sequence[int], bounds: Sequence[tuple[float, float]]) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True))


def settled(value: Any) -> Any:
    """A value as it will be in a longer conversation too: its numbers have to stay what they are."""
    if type(value) is Number:
        return value._exact
    if isinstance(value, dict):
        for item in value.values():
            settled(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            settled(item)
    elif type(value) not in VALUES and not isinstance(value, (Macro, Undefined)):
        raise Strange(type(value))
    return value


class Loop(LoopContext):
    """A loop that starts late, and says when a step is over."""

    def __init__(self, rest: Rest, undefined: type[Undefined]):
        super().__init__(rest.items[rest.start :], undefined)
        self._rest, self.index0, self._length = rest, rest.start - 1, rest.count  # type: ignore[assignment]
        self._current = rest.items[self.index0] if rest.start else missing

    def __next__(self) -> tuple[Any, LoopContext]:
        if self.index0 >= self._rest.start:
            self._rest.done()
        return super().__next__()

    def _peek_next(self) -> Any:
        bool(self._rest.count > self.index)  # asked, so that it has to stay so
        return super()._peek_next()

    def changed(self, *value: Any) -> bool:
        raise Strange("a loop that remembers what it saw")


def loop(iterable: Any, undefined: type[Undefined], *recursion: Any) -> LoopContext:
    """What a template calls `loop`."""
    return Loop(iterable, undefined) if type(iterable) is Rest else LoopContext(iterable, undefined, *recursion)
