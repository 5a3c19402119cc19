"""What a template calls `loop`, where it is told in stages."""

from collections.abc import Callable, Sequence
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
        self._items, self._length, self._end, self._over = items, count, end, over  # type: ignore[assignment]
        self.index0 = begin - 1
        if begin:
            self._current = items[begin - 1]

    def __next__(self) -> tuple[Any, LoopContext]:
        if self._running:
            self._running = False
            if self._over():
                raise StopIteration
        if self.index0 + 1 >= self._end:
            raise StopIteration
        self._running = True
        self.index0 += 1
        self._before, self._current = self._current, self._items[self.index0]
        return self._current, self

    def _peek_next(self) -> Any:
        """Asked, so that it has to stay so."""
        self._seen = self.index + 1
        return self._items[self.index] if self._length > self.index else missing  # type: ignore[operator]

    def changed(self, *value: Any) -> bool:
        raise Strange("a loop that remembers what it saw")


def loop(iterable: Any, undefined: type[Undefined], *recursion: Any) -> LoopContext:
    """What a template calls `loop`."""
    return iterable if type(iterable) in (Loop, Found) else LoopContext(iterable, undefined, *recursion)
