"""What a stage or a loop can see of what was set before it: the same where its keys are equal.

Numbers lie in cells; what nobody knows to stay what it is, is strange.
"""

import operator
from collections.abc import Hashable, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from jinja2.runtime import Macro, Undefined
from jinja2.utils import missing

from renderers.tracing.environment import DictMaker, Namespace
from renderers.tracing.gathered import VALUES, Fixed
from renderers.tracing.watched import Cell, Messages, Number, Size

FIXED = (type, FunctionType, MethodType, BuiltinFunctionType, DictMaker, type(missing))


class Strange(TypeError):
    """Nobody knows whether this stays what it is."""


class View:
    """What can be seen: keys that are equal where it is the same, and the numbers and namespaces met on the way.

    base: cells that any state has, that of the number of messages first.
    fixed: what stays what it is, such as the messages, by its identity.
    """

    def __init__(self, base: Sequence[Cell], fixed: Fixed):
        self.base, self.fixed = base, fixed
        self.cells = [*base]
        self.sources: list[Any] = []
        """What the other cells get their values from."""
        self.names: list[tuple[int, str] | None] = []
        """Where each of these was found: in which namespace, under which name."""
        self.spaces: list[dict[str, Any]] = []
        self.held: list[dict[str, Any]] = []
        """What namespaces hold, a cell for each number."""
        self.met: dict[int, int] = {}

    def key(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in VALUES:
            return kind, value
        if id(value) in self.fixed:
            return id(value)
        if kind is Number:
            return (
                (kind, self.base.index(value._cell), value._more) if value._cell in self.base else (int, value._exact)
            )
        if kind is Messages and value._sofar in self.base:
            return kind, self.key(value._skipped), self.base.index(value._sofar), value._more
        if isinstance(value, FIXED):
            return id(value)
        if kind is Macro:
            return id(value._func.__code__)
        if isinstance(value, Undefined):
            return kind, value._undefined_name
        return self._container(value)

    def _container(self, value: Any) -> Hashable:
        if id(value) in self.met:
            return "met", self.met[id(value)]
        self.met[id(value)] = len(self.met)
        if isinstance(value, (list, tuple)):
            fixed = self.fixed
            return type(value), *[id(item) if id(item) in fixed else self.key(item) for item in value]
        first = self.fixed.first(value)
        if first is not None:
            return id(first)
        if not isinstance(value, Namespace):
            raise Strange(type(value))
        held, number = dict[str, Any](), len(self.spaces)
        self.spaces.append(value.__dict__)
        self.held.append(held)
        keys = list[Hashable]()
        for name, item in value.__dict__.items():
            key, held[name] = (
                self._numbered(item, (number, name)) if type(item) is int else self.hold(item, (number, name))
            )
            keys += (name, key)
        return Namespace, *keys

    def hold(self, value: Any, name: tuple[int, str] | None = None) -> tuple[Hashable, Any]:
        """The key of a variable, and what to hold of it."""
        if type(value) is list:
            row = self.fixed.row(value)
            return self._rowed(Messages(row, Size(len(value))), name) if row else (self.key(value), value)
        if type(value) is Messages and type(value._sofar) is Size and type(value._skipped) is int:
            return self._rowed(value, name)
        numbered = type(value) is Number and value._cell is not self.base[0]
        return self._numbered(value, name) if numbered else (self.key(value), value)

    def _rowed(self, value: Messages, name: tuple[int, str] | None) -> tuple[Hashable, Any]:
        """What is gathered, its size in a cell of its own."""
        row, skipped, more = value._whole, value._skipped, value._more
        self.cells.append(Size(0))
        self.sources.append(Number(value._sofar))
        self.names.append(name)
        return (Size, id(row), skipped, more, len(self.cells)), Messages(row, self.cells[-1], skipped, more)

    def _numbered(self, value: Any, name: tuple[int, str] | None) -> tuple[Hashable, Any]:
        """A number, in a cell of its own."""
        self.cells.append(Cell(0))
        self.sources.append(value)
        self.names.append(name)
        return (Cell, len(self.cells)), Number(self.cells[-1])


def settled(value: Any, fixed: Fixed) -> Any:
    """A value as it will be in a longer conversation too: its numbers have to stay what they are."""
    if type(value) in VALUES or id(value) in fixed:
        return value
    if type(value) is Number:
        return value._exact
    if type(value) is Messages:
        return settled(value._exact, fixed)
    if type(value) is dict:
        first = fixed.first(value)
        return {name: settled(item, fixed) for name, item in value.items()} if first is None else first
    if type(value) in (list, tuple):
        items = [settled(item, fixed) for item in value]
        return value if all(map(operator.is_, items, value)) else type(value)(items)
    if not isinstance(value, (Macro, Undefined)):
        raise Strange(type(value))
    return value
