"""Where text comes from, and where the template stands while it writes.

A place is one of
- a path into the input, ("messages", 3, "content"): data of exactly there;
- `UNKNOWN`, the empty path: data that no one field can claim;
- `Near(path)`: the template's own words, written while it walked over that path;
- None: the template's own words, near nothing.
"""

from contextvars import ContextVar
from typing import Any

Path = tuple[str | int, ...]
Place = Path | None
UNKNOWN: Path = ()


class Near(tuple):
    """What the template walked over when it wrote this text itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Near) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def is_data(place: Place) -> bool:
    """Whether text of this place came from the input, so that no control token may be read in it."""
    return place is not None and not isinstance(place, Near)


def message_of(place: Place) -> int | None:
    """The message that this text belongs to, or stands near to."""
    return place[1] if place and place[0] == "messages" and len(place) > 1 else None  # type: ignore[return-value]


class Walk:
    """The loops that one render is in. Its own words are near the innermost loop item that has a place."""

    __slots__ = ("fixed", "here", "outer", "spelled")

    def __init__(self, spelled: dict[Any, Any] | None = None) -> None:
        self.spelled = {} if spelled is None else spelled
        """The JSON of tools, by where they lie and how it looks."""
        self.here: Near | None = None
        self.fixed = False
        """The loop's own item has a place: what is merely looked at does not change it."""
        self.outer: list[tuple[Near | None, bool]] = []

    def push(self) -> None:
        """A loop begins; until its first item it stands where the loop around it stands."""
        self.outer.append((self.here, self.fixed))

    def pop(self) -> None:
        self.here, self.fixed = self.outer.pop()

    def enter(self, place: Place) -> None:
        """The loop goes to its next item."""
        self.here, self.fixed = (Near(place), True) if place else (self.outer[-1][0], False)

    def look(self, place: Path) -> None:
        """`set x = messages[k]` in a loop over numbers is a visit too."""
        if self.outer and not self.fixed:
            self.here = Near(place)


WALK: ContextVar[Walk | None] = ContextVar("WALK", default=None)
"""The render that runs in this thread."""
