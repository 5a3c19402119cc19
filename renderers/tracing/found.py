"""What searches find: which messages they may find is asked once a conversation (`searches` says of which)."""

import operator
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from jinja2.runtime import LoopContext, Undefined

from renderers.tracing.watched import Behind, Messages, Number, Place


class Search:
    """One search through the messages of a conversation."""

    def __init__(self) -> None:
        self.hits: list[int] | None = None
        """The messages of which its conditions hold, in order."""
        self.noted: list[int] = []
        self.chosen: list[Any] | None = None
        """The messages of which they hold, where nobody goes over others."""
        self.fits = True
        """They are all that decides whether one is found."""
        self.last = Place(-1)
        """The last of them that is told, among all messages or among the chosen ones."""

    def known(self, sofar: int) -> list[int]:
        """The messages that may be found, now that somebody has asked."""
        if self.hits is None:
            self.hits = self.noted
            self.look(sofar)
        return self.hits

    def decided(self, messages: Messages, *, alone: bool) -> bool:
        """Whether it is known which messages may be found. alone: nothing else decides it, as far as was asked."""
        if self.hits is None and not alone:
            self.noted, self.fits = [], False
        self.known(messages._sofar.value)
        return self.fits

    def ahead(self, messages: Messages) -> list[Any]:
        """The first of these messages that is found, in a list."""
        sofar = messages._sofar
        hits = self.known(sofar.value)
        at = bisect_left(hits, messages._begin)
        return [messages._whole[hits[at]]] if at < len(hits) and not sofar.below(hits[at] + 1) else []

    def place(self, messages: Messages, limit: Any) -> list[Any]:
        """The number of the last of these messages that is found, before a limit if there is one, in a list."""
        sofar, begin = messages._sofar, messages._begin
        hits = self.known(sofar.value)
        if limit is None:
            return [] if self.last.below(begin) else [Number(self.last, -begin)]
        before = hits[bisect_left(hits, begin) : bisect_left(hits, begin + operator.index(limit))]
        return next(([hit - begin] for hit in reversed(before) if not sofar.below(hit + 1)), [])

    def choose(self, messages: Messages) -> Messages:
        """Those of these messages that are found."""
        begin = messages._begin
        if self.chosen is None:
            self.chosen = [messages._whole[hit] for hit in self.noted]
        hits = self.known(messages._sofar.value)
        return Messages(self.chosen, self.last, bisect_left(hits, begin), 1)

    def look(self, sofar: int) -> None:
        """So many messages are told."""
        hits = self.hits or ()
        at = bisect_left(hits, sofar)
        self.last.value = hits[at - 1] if at and self.chosen is None else at - 1


class Found(LoopContext):
    """A search over the messages that may be found. exact: what is done with one depends on which it is."""

    def __init__(self, search: Search, messages: Messages, *, exact: bool, undefined: type[Undefined]):
        super().__init__((), undefined)
        self._search, self._of, self._exact = search, messages, exact
        self._left: Iterator[int] | None = None

    def __next__(self) -> tuple[Any, LoopContext]:
        sofar, last = self._of._sofar, self._search.last
        if self._left is None:
            begin = self._of._begin
            if last.below(begin):
                raise StopIteration
            at, hits = last.value, self._search.hits or []
            self._left = reversed(hits[bisect_left(hits, begin) : bisect_left(hits, at)])
            self.index0: Any = Number(sofar, -1 - last.exact) if self._exact else Behind(sofar, last)
        else:
            _ = last.exact
            at = next(self._left)
            self.index0 = Number(sofar, -1 - at)
        return self._of._whole[at], self
