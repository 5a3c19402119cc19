"""A pool of renderers: so many work at once, and nobody else touches the one that is checked out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from queue import SimpleQueue
from typing import Any

from renderers.loading import AnyTokenizer, load_tokenizer
from renderers.registry import create_renderer
from renderers.renderer import Renderer


@dataclass(frozen=True)
class RendererPool:
    """Renderers that are free."""

    free: SimpleQueue[Renderer]
    size: int

    @contextmanager
    def checkout(self) -> Iterator[Renderer]:
        """A renderer of one's own for a while; waits until there is one."""
        renderer = self.free.get()
        try:
            yield renderer
        finally:
            self.free.put(renderer)


def create_renderer_pool(
    model: AnyTokenizer, renderer: str = "auto", *, size: int = 1, today: date | None = None, **flags: Any
) -> RendererPool:
    """So many renderers, as `create_renderer` makes them. `model`: a name, a folder, or a tokenizer.

    The vocabulary is loaded once, and all share it: it never changes.
    """
    if size < 1:
        raise ValueError(f"a pool of {size} renderers: there must be one at least")
    shared, free = load_tokenizer(model), SimpleQueue[Renderer]()
    for _ in range(size):
        free.put(create_renderer(shared, renderer, today=today, **flags))
    return RendererPool(free, size)
