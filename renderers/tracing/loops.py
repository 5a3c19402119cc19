"""What a template calls `loop`, where it is told in stages."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jinja2.runtime import LoopContext, Undefined
from jinja2.utils import missing

from renderers.tracing.found import Found
from renderers.tracing.views import Strange
from renderers.tracing.watched import Number


class Loop(LoopContext):
    """A loop that starts late, and asks after each step whether it is over."""

    depth0, _recurse, _undefined = 0, None, Undefined
    _running, _seen = False, 0

    def __init__(self, items: Sequence[Any], count: Number, begin: int, end: int, over: Callable[[], bool]):
        self._items, self._length, self._begin, self._end, self._over = items, count, begin, end, over  # type: ignore[assignment]
        if begin:
            self._current = items[begin - 1]

    def __iter__(self) -> Iterator[tuple[Any, LoopContext]]:  # type: ignore[override]  # a generator is quicker
        if self._running:
            raise Strange("a loop over a loop")
        items, over = self._items, self._over
        for self.index0 in range(self._begin, self._end):  # noqa: B020
            self._running = True
            self._before, self._current = self._current, items[self.index0]
            yield self._current, self
            self._running = False
            if over():
                return

    @property
    def last(self) -> bool:
        """Asked, so that it has to stay so."""
        self._seen = self.index0 + 2
        return self._length <= self.index0 + 1  # type: ignore[operator]

    def _peek_next(self) -> Any:
        self._seen = self.index + 1
        return self._items[self.index] if self._length > self.index else missing  # type: ignore[operator]

    def changed(self, *value: Any) -> bool:
        raise Strange("a loop that remembers what it saw")


class Ends(Loop):
    """A loop of which single steps are told, wherever it is put: a template is begun once for all of them."""

    def __init__(self, items: Sequence[Any], count: Number):
        super().__init__(items, count, 0, 0, bool)

    def put(self, index: int) -> None:
        """The next step is this one."""
        self.index0, self._running = index, False
        self._before = self._items[index - 1] if index else missing

    def __iter__(self) -> Iterator[tuple[Any, LoopContext]]:  # type: ignore[override]
        if self._running:
            raise Strange("a loop over a loop")
        while not self._running:  # or it is left before the end of a step
            self._running = True
            yield self._items[self.index0], self


def loop(iterable: Any, undefined: type[Undefined], *recursion: Any) -> LoopContext:
    """What a template calls `loop`."""
    return iterable if type(iterable) in (Loop, Ends, Found) else LoopContext(iterable, undefined, *recursion)
