"""Numbers and messages that know how far a conversation may go on before they answer otherwise.

A template asks how many messages there are, and where the last query is. Such a number is a `Number`: it remembers for
which other values all that it was asked so far would have been answered the same. `Messages` are the first so many of a
longer conversation, and how many is such a number.

Neither is an `int` or a `list`: what would look past these methods fails instead of looking unseen. Names begin with an
underscore: a template must not find them.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any

ANY = (float("-inf"), float("inf"))


class Cell:
    """A value, and the values for which everything would be as it is: low <= value <= high."""

    __slots__ = ("bounds", "value")

    def __init__(self, value: int):
        self.value, self.bounds = value, ANY

    def below(self, limit: int) -> bool:
        """Is the value less than the limit? From now on it has to stay on this side."""
        low, high = self.bounds
        if self.value < limit:
            if high >= limit:
                self.bounds = low, limit - 1
            return True
        if low < limit:
            self.bounds = limit, high
        return False

    @property
    def exact(self) -> int:
        """The value, which has to stay what it is."""
        self.bounds = self.value, self.value
        return self.value


class Place(Cell):
    """Where the last message of some kind is, of those that are told; -1 where there is none."""

    __slots__ = ()


class Size(Cell):
    """How much of a row of messages is gathered."""

    __slots__ = ()


class Number:
    """The value of a cell, and something added to it."""

    __slots__ = ("_cell", "_more")

    def __init__(self, cell: Cell, more: int = 0):
        self._cell, self._more = cell, more

    __class__ = property(lambda self: int)  # type: ignore[assignment]  # to a template it is a number

    @property
    def _exact(self) -> int:
        return self._cell.exact + self._more

    def __add__(self, other: Any) -> Any:
        return Number(self._cell, self._more + other) if type(other) is int else self._exact + other

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if type(other) is Behind and other._sofar is self._cell:
            return Number(other._at, self._more + 1)
        if type(other) is Number and other._cell is self._cell:
            return self._more - other._more
        rest: Any = other
        return Number(self._cell, self._more - rest) if type(rest) is int else self._exact - rest

    def __lt__(self, other: Any) -> bool:
        return self._cell.below(other - self._more) if type(other) is int else self._exact < other

    def __le__(self, other: Any) -> bool:
        return self._cell.below(other - self._more + 1) if type(other) is int else self._exact <= other

    def __gt__(self, other: Any) -> bool:
        return not self._cell.below(other - self._more + 1) if type(other) is int else self._exact > other

    def __ge__(self, other: Any) -> bool:
        return not self._cell.below(other - self._more) if type(other) is int else self._exact >= other

    def __eq__(self, other: object) -> bool:
        return not self < other and self <= other if type(other) is int else self._exact == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __bool__(self) -> bool:
        return self != 0


def _asked_exactly(function: Callable[..., Any], *, swapped: bool = False) -> Callable[..., Any]:
    def method(self: Number, *others: Any) -> Any:
        return function(*others, self._exact) if swapped else function(self._exact, *others)

    return method


for _function in (hash, str, repr, format, float, round, abs):
    setattr(Number, f"__{_function.__name__}__", _asked_exactly(_function))
for _name in ("index", "int", "neg", "pos", "trunc", "floor", "ceil"):
    setattr(Number, f"__{_name}__", _asked_exactly(getattr(int, f"__{_name}__")))
for _name in ("mul", "floordiv", "truediv", "mod", "pow", "sub"):
    if _name != "sub":
        setattr(Number, f"__{_name}__", _asked_exactly(getattr(operator, _name)))
    setattr(Number, f"__r{_name}__", _asked_exactly(getattr(operator, _name), swapped=True))


class Behind:
    """How many messages follow one. It can be taken from how many there are: that is where the one is."""

    __slots__ = ("_at", "_sofar")

    def __init__(self, sofar: Cell, at: Cell):
        self._sofar, self._at = sofar, at


class Messages:
    """The messages of a conversation, as far as it has come, or as far as a place in it. A template may leave out the
    first few, or those before a place."""

    __slots__ = ("_more", "_skipped", "_sofar", "_whole")

    def __init__(self, whole: list[Any], sofar: Cell, skipped: "int | Number" = 0, more: int = 0):
        self._whole, self._sofar, self._skipped, self._more = whole, sofar, skipped, more

    @property
    def _plain(self) -> bool:
        """Whether they go on as far as the conversation has come, from a message on that stays the same."""
        return type(self._skipped) is int and type(self._sofar) is Cell

    @property
    def _ends(self) -> tuple[int, int]:
        """The first of them, and the first that follows them, and nobody is told that these were looked at."""
        skipped: Any = self._skipped
        begin = skipped if type(skipped) is int else skipped._cell.value + skipped._more
        return begin, self._sofar.value + self._more

    @property
    def _begin(self) -> int:
        return self._skipped if type(self._skipped) is int else self._skipped._exact  # type: ignore[union-attr]

    @property
    def _count(self) -> Number:
        return self._counted(self._begin)

    def _counted(self, begin: int) -> Number:
        """How many there are, of those that begin there."""
        return Number(self._sofar, self._more - begin)

    @property
    def _exact(self) -> list[Any]:
        """All of them, and no more."""
        return self._whole[self._begin : self._sofar.exact + self._more]

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice):
            at = operator.index(key)
            return self._whole[self._begin + at] if at >= 0 and self._count > at else self._exact[at]
        if key.step is None and self._plain:
            if key.start is None and self._holds(key.stop):
                return Messages(self._whole, key.stop._cell, self._skipped, key.stop._more + self._begin)
            if key.stop is None and self._holds(key.start):
                begin: Any = key.start
                return Messages(self._whole, self._sofar, begin + self._begin)
        at = 0 if key.start is None else operator.index(key.start)
        if key.stop is None and key.step is None and at >= 0 and self._count >= at:
            return Messages(self._whole, self._sofar, self._begin + at, self._more)
        return self._exact[key]

    def _holds(self, end: Any) -> bool:
        """Whether this is a place among them, or the next one."""
        return type(end) is Number and type(end._cell) is Place and end._more + self._begin <= 1 and end >= 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self._exact)

    def __len__(self) -> int:
        return self._count._exact

    def __bool__(self) -> bool:
        return self._count > 0

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._exact)

    def __contains__(self, item: object) -> bool:
        return item in self._exact

    def __add__(self, other: Any) -> Any:
        if type(other) is list and not other:
            return self
        return self._exact + (other._exact if isinstance(other, Messages) else other)

    def __radd__(self, other: Any) -> Any:
        return other + self._exact

    def __eq__(self, other: object) -> bool:
        return self._exact == (other._exact if isinstance(other, Messages) else other)

    def __repr__(self) -> str:
        return repr(self._exact)

    __hash__ = None  # type: ignore[assignment]


def length(value: Any) -> Any:
    """The filter `length`, for which `len` would have to say a plain number."""
    return value._count if isinstance(value, Messages) else len(value)
