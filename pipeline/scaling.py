"""Where a partition is rendered: in this process, or by Ray Data on many machines. The same rows, so the same hashes.

Ray's workers read their shards of the stored conversations by themselves, so they must see the data: a folder that all
machines share, or an object store. What they render comes back in the order of the conversations.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.columns import Folder, open_rows, read_rows
from pipeline.errors import SettingsError
from pipeline.loading import load_renderer
from pipeline.records import Conversation, Reject, RenderedRow, Row
from pipeline.rendering import render
from pipeline.targets import SETTINGS, Target
from renderers.renderer import Renderer

R = TypeVar("R", bound=Row)
SHARD = 64
"""Conversations: seconds of work, so that a worker that dies costs no more."""


class Partitions(Protocol):
    """Stored partitions, as rows and as files."""

    def read(self, asset: str, batch: str, row: type[R]) -> Iterator[R]: ...

    def file(self, asset: str, batch: str, which: str) -> Folder: ...


def render_here(
    store: Partitions, batch: str, renderer: Renderer, target: Target, folder: Path
) -> Iterator[RenderedRow | Reject]:
    """A batch's rows for a target. `folder`: the project's, where the tokenizer may be."""
    return render(store.read("conversations", batch, Conversation), renderer, history=target.history)


def render_with_ray(
    store: Partitions, batch: str, renderer: Renderer, target: Target, folder: Path
) -> Iterator[RenderedRow | Reject]:
    """The same, by the cluster that RAY_ADDRESS names, else by the cores of this machine. Raises SettingsError.

    Each of its workers loads a renderer of its own.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SettingsError(f'{SETTINGS}: engine: ray: {error}; pip install "tracemill[scale]"') from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="warning")
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    file = store.file("conversations", batch, "rows_file")
    shards = shards_of(file, SHARD)
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    rendered = ray.data.from_items(shards, override_num_blocks=max(1, len(shards))).map_batches(
        Worker,
        fn_constructor_args=(file, target, folder),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(cores, max(1, len(shards)))),
    )
    for shard in rendered.iter_rows():
        yield from pickle.loads(shard["rows"])


def shards_of(file: Folder, size: int) -> list[dict[str, int]]:
    """Stretches of rows, each within one row group: what a worker has to read."""
    with open_rows(file) as opened:
        groups = [opened.metadata.row_group(number).num_rows for number in range(opened.num_row_groups)]
    return [
        {"group": group, "start": start, "stop": min(start + size, rows)}
        for group, rows in enumerate(groups)
        for start in range(0, rows, size)
    ]


class Worker:
    """Renders shards; its renderer is loaded once."""

    def __init__(self, file: Folder, target: Target, folder: Path):
        self.file, self.target, self.renderer = file, target, load_renderer(target, folder=folder)

    def __call__(self, shards: Mapping[str, Any]) -> dict[str, list[bytes]]:
        stretches = zip(shards["group"], shards["start"], shards["stop"], strict=True)
        return {"rows": [pickle.dumps(list(self.render(*map(int, one)))) for one in stretches]}

    def render(self, group: int, start: int, stop: int) -> Iterator[RenderedRow | Reject]:
        conversations = islice(read_rows(open_rows(self.file), Conversation, groups=[group]), start, stop)
        return render(conversations, self.renderer, history=self.target.history)


Engine = Callable[[Partitions, str, Renderer, Target, Path], Iterator[RenderedRow | Reject]]
ENGINES: Mapping[str, Engine] = {"local": render_here, "ray": render_with_ray}
