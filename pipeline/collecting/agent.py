"""What an agent is, and what it finds where it works.

An agent runs a prompt at a `Site`: a `Box` to work in and a `Line` to the model, both its own. `resources/` has them.
"""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from pipeline.records import Conversation, Exchange, Prompt, Reject, Trace, TraceFile, Usage
from pipeline.settings import Collection

T = TypeVar("T")
F = TypeVar("F", bound=TraceFile)
Api = Literal["responses", "chat", "messages"]


class Format(Protocol):
    """What is asked of a trace format here."""

    def parent_of(self, file: TraceFile, beside: Iterable[F]) -> F | None:
        """Of these, the one that this session goes on from. Raises TraceError for a file that holds nothing."""
        ...

    @property
    def convert(self) -> Callable[[Trace], Iterator[Conversation | Reject]]:
        """The conversations of a trace, and why others cannot be told. Raises TraceError."""
        ...


class Journal(Protocol):
    """What is finished of a partition before all of it is."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, value: bytes) -> None: ...

    def names(self, prefix: str = "") -> Iterator[str]: ...


class Line(Protocol):
    """One run's way to the model. What goes over it is recorded and counted; the key is added behind it."""

    @property
    def url(self) -> str:
        """For the openai SDK in this process."""
        ...

    async def said(self, api: Api, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; `{"error": …}` where there is none. For work that a site has spawned."""
        ...

    @property
    def exchanges(self) -> tuple[Exchange, ...]: ...

    @property
    def usage(self) -> Usage:
        """All that was ever paid for this prompt and generation, attempts of killed runs included."""
        ...

    @property
    def cost_usd(self) -> float | None: ...


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    told: str
    """The last of what it printed."""
    timed_out: bool = False


class Box(Protocol):
    """A home and a folder of work, for one run alone."""

    commit: str | None
    """Of the repository that it works in."""

    @property
    def url(self) -> str:
        """The model, as the agent reaches it; ends in `/v1`."""
        ...

    @property
    def home(self) -> Path:
        """On this machine; `inside` is what the agent calls it."""
        ...

    @property
    def work(self) -> Path: ...

    def inside(self, path: Path) -> str:
        """The name that the agent knows a path by."""
        ...

    def run(self, command: list[str], *, env: Mapping[str, str], stop: Signals, seconds: float) -> Ended:
        """Run to the end, or to the end of time: then `stop` is sent, and what has not ended soon after is killed."""
        ...


class Site(Protocol):
    """Where agents work."""

    @property
    def name(self) -> str:
        """As `Trace.sandbox`."""
        ...

    api: Api
    """What the model's server speaks."""

    @property
    def out_of_budget(self) -> bool:
        """Whether a request was held back; others would be."""
        ...

    def line(self, prompt: Prompt) -> AbstractContextManager[Line]: ...

    def spawn(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have work done beside all other, where lines are."""
        ...

    def box(self, line: Line, prompt: Prompt) -> AbstractContextManager[Box]:
        """With the prompt's repository in it, where it names one. Raises TraceError."""
        ...


@dataclass(frozen=True)
class World:
    """What agents are given beside a prompt."""

    folder: Path
    """Of the batch file: what is imported lies below it."""
    formats: Mapping[str, Format]
    collection: Collection


@runtime_checkable
class Patient(Protocol):
    """An `Agent` that can be asked in batches."""

    async def wait(self, prompt: Prompt, world: World, site: Site) -> Trace:
        """As `run`, spawned by the site. Raises TraceError."""
        ...


class Agent(Protocol):
    """Who runs prompts."""

    @property
    def paid(self) -> bool:
        """Whether it calls a model, and so needs a site."""
        ...

    def run(self, prompt: Prompt, world: World, site: Site | None) -> Iterable[Trace | Reject]:
        """Its traces, one if it is paid for. Raises TraceError where there is none."""
        ...
