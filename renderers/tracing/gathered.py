"""What a template gathers before it tells it: new messages, in lists that grow with the conversation.

A message is gathered anew for each prefix, and is like the one that was gathered for another. So the first of its kind
stands for all of them, and a list of such messages is the beginning of a longer one, as far as the conversation goes.
"""

import operator
from collections.abc import Hashable, Iterable
from typing import Any

VALUES = frozenset({str, int, bool, float, type(None)})
FEW = 2
"""Items from which on a list is likely to grow."""


class Fixed(dict[int, Any]):
    """What stays what it is, by its identity: messages, and whatever is gathered of them."""

    def __init__(self, messages: Iterable[Any], *, alike: bool):
        """alike: what is alike may stand for each other."""
        super().__init__({id(message): message for message in messages})
        self.apart = not alike
        self.alike: dict[Hashable, dict[Any, Any]] = {}
        """The first of all that nobody can tell apart."""
        self.rows: dict[tuple[int, int], list[Any]] = {}
        """The longest lists, by their first items."""
        self.lists: dict[int, tuple[list[Any], list[Any] | None]] = {}
        """Of lists, which nobody can change, the longest."""

    def row(self, items: list[Any]) -> list[Any] | None:
        """The longest list that begins as this one does; None: there is none, or it is no list of messages."""
        if len(items) < FEW or self.apart:
            return None
        if id(items) not in self.lists:
            self.lists[id(items)] = items, self._row(items)
        return self.lists[id(items)][1]

    def _row(self, items: list[Any]) -> list[Any] | None:
        *same, last = items
        row = self.rows.get((id(same[0]), id(items[1])), [])
        if len(row) < len(same) or not all(map(operator.is_, same, row)):
            return self._new_row(items)
        last = last if id(last) in self else self.first(last)
        if last is None:
            return None
        if len(row) == len(same):
            row.append(last)
        return row if row[len(same)] is last else None

    def _new_row(self, items: list[Any]) -> list[Any] | None:
        known = [item if id(item) in self else self.first(item) for item in items]
        if None in known:
            return None
        row = self.rows.setdefault((id(known[0]), id(known[1])), known)
        if not all(map(operator.is_, known, row)):
            return None
        row += known[len(row) :]
        return row

    def first(self, item: Any) -> Any:
        """The first object that was like this one; None: it is no JSON object."""
        likeness = _likeness(item) if type(item) is dict else None
        if likeness is None:
            return None
        first = item if self.apart else self.alike.setdefault(likeness, item)
        self[id(first)] = first
        return first


def _likeness(value: Any) -> Hashable:
    """Equal for JSON that no template can tell apart; None: it is none."""
    kind = type(value)
    if kind in VALUES:
        return kind, repr(value) if kind is float else value
    if kind not in (dict, list):
        return None
    parts = [_likeness(part) for part in ([*value.keys(), *value.values()] if kind is dict else value)]
    return None if None in parts else (kind, *parts)
