"""Where prompts are run that are paid for: the recorder, and sandboxes beside it. A resource of `traces` alone."""

import asyncio
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pipeline.collecting.agent import Api, Box, Journal, Line
from pipeline.collecting.collect import Progress, silent
from pipeline.records import Prompt
from pipeline.resources.boxes import Host, check_out, scratch, sweep
from pipeline.settings import Collection

if TYPE_CHECKING:
    from pipeline.resources.containers import Containers
    from pipeline.resources.recorder import Recorder
T = TypeVar("T")


class Sites:
    """Opens sites as `collect` in tracemill.yaml says; tells of progress to whoever wants to know."""

    def __init__(self, collection: Collection, tell: Progress = silent):
        self.collection, self.tell = collection, tell

    def within(self, max_usd: float | None) -> "Sites":
        """The same, where a partition may cost no more than this either. None: as `collect.limits` says."""
        limits = self.collection.limits
        caps = [cap for cap in (limits.max_usd, max_usd) if cap is not None]
        limits = limits.model_copy(update={"max_usd": min(caps, default=None)})
        return Sites(self.collection.model_copy(update={"limits": limits}), self.tell)

    @contextmanager
    def open(self, journal: Journal, generation: int) -> Iterator["OpenSite"]:
        """A site with a recorder that serves. What killed runs left on this machine is swept first."""
        from pipeline.resources.recorder import Recorder  # a server and a client, which the graph need not wait for

        sweep()
        with scratch() as folder:
            sockets = folder / "sockets"
            sockets.mkdir()
            with Recorder(self.collection, journal, generation, sockets) as recorder:
                yield OpenSite(self.collection, recorder, folder, sockets)


class OpenSite:
    """A `collecting.agent.Site`."""

    def __init__(self, collection: Collection, recorder: "Recorder", folder: Path, sockets: Path):
        self.recorder, self.folder, self.github = recorder, folder, collection.github
        self.docker = collection.sandbox.kind == "docker"
        self.sandbox = self._containers(collection, sockets) if self.docker else Host()
        self.api: Api = collection.endpoint.api
        self.line = recorder.line

    def _containers(self, collection: Collection, sockets: Path) -> "Containers":
        from pipeline.resources.containers import Containers  # Docker's client, which the graph need not wait for

        return Containers(collection.sandbox, self.folder, sockets)

    @property
    def out_of_budget(self) -> bool:
        return self.recorder.budget.passed

    def spawn(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.recorder.loop)

    @property
    def name(self) -> str:
        return self.sandbox.name

    @contextmanager
    def box(self, line: Line, prompt: Prompt) -> Iterator[Box]:
        """The repository is fetched out here: inside there is no network."""
        path = urlsplit(line.url).path
        place = self.folder / path.split("/")[1]
        for name in ("home", "work", "tmp"):
            (place / name).mkdir(parents=True)
        repo, work = prompt.github_repo, place / "work"
        commit = check_out(repo, prompt.ref, work, host=self.github) if repo else None
        with self.sandbox.box(place, path if self.docker else line.url) as box:
            box.commit = commit
            try:
                yield box
            finally:
                shutil.rmtree(place / "work", ignore_errors=True)
