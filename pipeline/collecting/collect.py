"""A batch of prompts, run: what is finished is written down at once, and never run again.

A prompt that is paid for is finished when its trace stands in the journal. After a kill at any moment the next run goes
on from the journal: it repeats no finished prompt and loses none. What ended in an error is run again.

Where a greater generation is asked for, all prompts are run anew; one whose new run fails, or is held back by the
budget, keeps the trace that it had.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import msgspec

from pipeline.collecting import AGENTS
from pipeline.collecting.agent import Journal, Patient, Site, World
from pipeline.errors import TraceError
from pipeline.records import Prompt, Reject, Trace

Progress = Callable[[Prompt, Trace | Reject | None], None]
"""Told when a prompt begins (None) and ends."""
Sites = Callable[[Journal, int], AbstractContextManager[Site]]
"""(journal, generation) -> where agents work, while it is open."""


def silent(prompt: Prompt, row: Trace | Reject | None) -> None:
    """No progress."""


class Finished:
    """Traces that need no run: those of the generation that is asked for, or of a greater one; unasked, all."""

    def __init__(self, journal: Journal, asked: int | None):
        self.journal, self.asked = journal, asked or 0
        known = {int(name.split("/")[1]) for name in journal.names("done")}
        self.generation = max({self.asked, *known})
        """Of what is run now: the greatest, asked for, held or begun."""
        self.newest = sorted(known | {self.generation}, reverse=True)

    @classmethod
    def of(cls, journal: Journal, held: Iterable[Trace], asked: int | None) -> "Finished":
        """Those of the partition and of the journal."""
        for trace in held:
            _add(journal, trace)
        return cls(journal, asked)

    def add(self, trace: Trace) -> None:
        _add(self.journal, trace)

    def get(self, prompt: Prompt) -> Trace | None:
        return self._find(prompt, [one for one in self.newest if one >= self.asked])

    def kept(self, prompt: Prompt) -> Trace | None:
        """What the prompt has of an earlier generation than the one that is asked for."""
        return self._find(prompt, [one for one in self.newest if one < self.asked])

    def mark(self, what: Literal["begun", "through"]) -> None:
        """Of the generation that is run: `through` once each of its prompts had its turn, finished or failed."""
        self.journal.write(f"{what}/{self.generation}", b"")

    def _find(self, prompt: Prompt, generations: Iterable[int]) -> Trace | None:
        for one in generations:
            if (told := self.journal.read(f"done/{one}/{prompt.id}")) is not None:
                return msgspec.msgpack.decode(told, type=Trace)
        return None


def unfinished(journal: Journal) -> int | None:
    """The generation that was begun last, unless it is through: a run was killed, or the budget spent."""
    last = max((int(name.split("/")[1]) for name in journal.names("begun")), default=None)
    return last if last is not None and journal.read(f"through/{last}") is None else None


def _add(journal: Journal, trace: Trace) -> None:
    if trace.status != "error":
        journal.write(f"done/{trace.generation}/{trace.prompt_id}", msgspec.msgpack.encode(trace))


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
    if paid:
        finished.mark("begun")
    opened = sites(finished.journal, finished.generation) if paid else nullcontext()
    with opened as site, ThreadPoolExecutor(world.collection.limits.concurrency) as pool:

        def work(prompt: Prompt) -> Trace | Reject | None:
            return _paid(prompt, world, site, finished, tell)

        begun: dict[str, Future[Trace | Reject | None]] = {}
        for prompt in paid:
            patient = world.collection.batch and site is not None and isinstance(AGENTS[prompt.agent], Patient)
            waiting = site.spawn(_waited(prompt, world, site, finished, tell)) if site and patient else None
            begun[prompt.id] = waiting or pool.submit(work, prompt)
        try:
            for prompt in prompts:
                yield from _rows(prompt, world, finished, begun)
            if site is not None and not site.out_of_budget:
                finished.mark("through")
        finally:
            for future in begun.values():
                future.cancel()
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
        kept = finished.kept(prompt)
        yield kept or row
        if kept:
            yield row if isinstance(row, Reject) else _failed(prompt, row)
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
        return _ended(prompt, _reject(prompt, error), finished, tell)
    return _ended(prompt, trace, finished, tell)


async def _waited(
    prompt: Prompt, world: World, site: Site, finished: Finished, tell: Progress
) -> Trace | Reject | None:
    """As `_paid`, among many who wait for a batch."""
    tell(prompt, None)
    agent = AGENTS[prompt.agent]
    assert isinstance(agent, Patient)
    try:
        row = await agent.wait(prompt, world, site)
    except TraceError as error:
        row = _reject(prompt, error)
    return await asyncio.to_thread(_ended, prompt, row, finished, tell)


def _ended(prompt: Prompt, row: Trace | Reject, finished: Finished, tell: Progress) -> Trace | Reject | None:
    if isinstance(row, Reject):
        tell(prompt, row)
        return row
    trace = msgspec.structs.replace(row, generation=finished.generation)
    finished.add(trace)
    tell(prompt, trace)
    return trace if trace.status == "error" else None


def _failed(prompt: Prompt, trace: Trace) -> Reject:
    told = f"prompt: its run of generation {trace.generation} ended in an error; the trace before it stands"
    return _reject(prompt, TraceError("run_error", told))


def _reject(prompt: Prompt, error: TraceError) -> Reject:
    return Reject(id=prompt.id, stage="traces", reason=error.reason, detail=f"line {prompt.line}:{error}")
