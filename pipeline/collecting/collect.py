"""A batch of prompts, run: what is finished is written down at once, and never run again.

A prompt that is paid for is finished when its trace stands in the journal. After a kill at any moment the next run goes
on from the journal: it repeats no finished prompt and loses none. What ended in an error is run again.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import msgspec

from pipeline.collecting import AGENTS
from pipeline.collecting.agent import Site, World
from pipeline.errors import TraceError
from pipeline.records import Prompt, Reject, Trace

Progress = Callable[[Prompt, Trace | Reject | None], None]
"""Told when a prompt begins (None) and ends."""
Sites = Callable[["Journal", int], AbstractContextManager[Site]]
"""(journal, generation) -> where agents work, while it is open."""


class Journal(Protocol):
    """What is finished of a partition before all of it is."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, value: bytes) -> None: ...

    def names(self, prefix: str = "") -> Iterator[str]: ...


def silent(prompt: Prompt, row: Trace | Reject | None) -> None:
    """No progress."""


class Finished:
    """The traces of one generation that stand."""

    def __init__(self, journal: Journal, generation: int):
        self.journal, self.generation = journal, generation

    @classmethod
    def of(cls, journal: Journal, held: Iterable[Trace], asked: int | None) -> "Finished":
        """Those of the partition and of the journal. The generation is the greatest: asked for, held or begun."""
        generations = {0, asked or 0, *(int(name.split("/")[1]) for name in journal.names("done"))}
        for trace in held:
            generations.add(trace.generation)
            cls(journal, trace.generation).add(trace)
        return cls(journal, max(generations))

    def add(self, trace: Trace) -> None:
        if trace.status != "error":
            self.journal.write(self._name(trace.prompt_id), msgspec.msgpack.encode(trace))

    def get(self, prompt: Prompt) -> Trace | None:
        told = self.journal.read(self._name(prompt.id))
        return msgspec.msgpack.decode(told, type=Trace) if told is not None else None

    def _name(self, prompt_id: str) -> str:
        return f"done/{self.generation}/{prompt_id}"


def collect(
    prompts: Iterable[Prompt],
    world: World,
    finished: Finished,
    sites: Sites,
    *,
    tell: Progress = silent,
) -> Iterator[Trace | Reject]:
    """The traces of each prompt, in the order of the prompts, or the reason why there is none.

    Raises EndpointRefused where the model's server will answer nobody; what was finished until then stands.
    """
    prompts = list(prompts)
    paid = [p for p in prompts if _is_paid(p) and not _stands(p, finished, tell)]
    opened = sites(finished.journal, finished.generation) if paid else nullcontext()
    with opened as site, ThreadPoolExecutor(world.collection.limits.concurrency) as pool:

        def work(prompt: Prompt) -> Trace | Reject | None:
            return _paid(prompt, world, site, finished, tell)

        begun = {prompt.id: pool.submit(work, prompt) for prompt in paid}
        try:
            for prompt in prompts:
                yield from _rows(prompt, world, finished, begun)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _is_paid(prompt: Prompt) -> bool:
    return prompt.agent in AGENTS and AGENTS[prompt.agent].paid


def _stands(prompt: Prompt, finished: Finished, tell: Progress) -> bool:
    trace = finished.get(prompt)
    if trace is not None:
        tell(prompt, None)
        tell(prompt, trace)
    return trace is not None


def _rows(
    prompt: Prompt, world: World, finished: Finished, begun: dict[str, "Future[Trace | Reject | None]"]
) -> Iterator[Trace | Reject]:
    if prompt.id in begun and (row := begun.pop(prompt.id).result()) is not None:
        yield row
    elif _is_paid(prompt):
        trace = finished.get(prompt)
        assert trace is not None
        yield trace
    else:
        yield from _free(prompt, world)


def _free(prompt: Prompt, world: World) -> Iterator[Trace | Reject]:
    try:
        if prompt.agent not in AGENTS:
            known = ", ".join(AGENTS)
            raise TraceError("unknown_agent", f"agent: {prompt.agent!r} is none of {known}; set one of them")
        yield from AGENTS[prompt.agent].run(prompt, world, None)
    except TraceError as error:
        yield _reject(prompt, error)


def _paid(prompt: Prompt, world: World, site: Site | None, finished: Finished, tell: Progress) -> Trace | Reject | None:
    """None: the trace stands in the journal, and need not be held in memory."""
    tell(prompt, None)
    try:
        (trace,) = AGENTS[prompt.agent].run(prompt, world, site)
        assert isinstance(trace, Trace)
    except TraceError as error:
        row = _reject(prompt, error)
        tell(prompt, row)
        return row
    trace = msgspec.structs.replace(trace, generation=finished.generation)
    finished.add(trace)
    tell(prompt, trace)
    return trace if trace.status == "error" else None


def _reject(prompt: Prompt, error: TraceError) -> Reject:
    return Reject(id=prompt.id, stage="traces", reason=error.reason, detail=f"line {prompt.line}:{error}")
