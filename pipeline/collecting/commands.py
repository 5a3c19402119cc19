"""Coding agents that are commands: a home of their own, a turn a prompt, their session files in the end.

An agent's retries are off, because the recorder tries again; it knows no key and no server but the recorder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Protocol

from pipeline.collecting.agent import Api, Box, Ended, Line, Site, World
from pipeline.collecting.runs import Clock, cut_short, trace_of, with_status
from pipeline.errors import TraceError
from pipeline.records import Decoding, Prompt, Trace, TraceFile


class Command(Protocol):
    """A coding agent's command line."""

    name: str
    """What it is called as an agent; also its session files' format."""
    program: str
    apis: tuple[Api, ...]
    """Of servers that it can be run with."""
    stop: Signals
    """What makes it end in good order."""
    sessions: str
    """Where its session files are, in its home."""

    def environment(self, box: Box) -> Mapping[str, str]: ...

    def configure(self, box: Box, prompt: Prompt, *, api: Api, seconds: float) -> None:
        """Write what it reads when it starts."""
        ...

    def turn(self, box: Box, prompt: Prompt, said: str, *, resume: bool) -> list[str]:
        """What makes it answer `said`, in the session that it has if `resume`."""
        ...


@dataclass(frozen=True)
class Coding:
    """An `Agent` that is a command."""

    command: Command
    paid: bool = True
    versions: dict[str, str] = field(default_factory=dict)
    """By site."""

    def run(self, prompt: Prompt, world: World, site: Site | None) -> Iterator[Trace]:
        assert site is not None
        self._check(prompt, site.api)
        if world.collection.batch:
            why = f"agent: {self.command.name} cannot wait for a batch; leave out collect.batch, or use chat"
            raise TraceError("unsupported", why)
        clock = Clock(world.collection.limits.timeout)
        with site.line(prompt) as line, site.box(line, prompt) as box:
            self.command.configure(box, prompt, api=site.api, seconds=clock.seconds)
            version = self._version(site, box)
            ended = self._turns(prompt, box, line, clock)
            files = tuple(self._files(box))
        if not files or not line.exchanges:
            raise TraceError("no_session", f"agent: {self.command.name} ended with {ended.code}; it told: {ended.told}")
        trace = trace_of(
            prompt,
            files,
            line,
            clock,
            format=self.command.name,
            agent_version=version,
            sandbox=site.name,
            commit=box.commit,
        )
        yield with_status(trace, world.formats, timed_out=ended.timed_out)

    def _check(self, prompt: Prompt, api: Api) -> None:
        """Whatever it could not say to the model is refused, not forgotten."""
        if api not in self.command.apis:
            why = f"agent: {self.command.name} cannot speak {api}; set collect.endpoint.api: {self.command.apis[0]}"
            raise TraceError("unsupported", why)
        if not prompt.model:
            raise TraceError("no_model", "model: nothing says which; set it, or collect.model")
        asked = prompt.sampling
        if asked != Decoding(reasoning_effort=asked.reasoning_effort):
            why = f"sampling: {self.command.name} can be told reasoning_effort alone; leave out the others, or use chat"
            raise TraceError("unsupported", why)

    def _turns(self, prompt: Prompt, box: Box, line: Line, clock: Clock) -> Ended:
        ended = Ended(0, "")
        for number, said in enumerate((prompt.prompt, *prompt.follow_up_prompts)):
            turn = self.command.turn(box, prompt, said, resume=number > 0)
            ended = box.run(turn, env=self.command.environment(box), stop=self.command.stop, seconds=clock.left)
            if ended.timed_out or cut_short(line.exchanges):
                break
        return ended

    def _version(self, site: Site, box: Box) -> str:
        if site.name not in self.versions:
            asked = [self.command.program, "--version"]
            told = box.run(asked, env=self.command.environment(box), stop=self.command.stop, seconds=60)
            if told.code != 0:
                raise TraceError("no_agent", f"agent: {' '.join(asked)} fails in {site.name}: {told.told}; install it")
            words = told.told.split()
            self.versions[site.name] = next((word for word in words if word[0].isdigit()), " ".join(words))
        return self.versions[site.name]

    def _files(self, box: Box) -> Iterator[TraceFile]:
        """The session, and those of its helpers, which began later or lie below it. Links are not followed: they would
        lead out of the box."""
        home = box.home.resolve()
        found = (box.home / self.command.sessions).rglob("*.jsonl")
        for path in sorted(found, key=lambda path: (len(path.parts), path)):
            name = path.relative_to(box.home)
            if path.is_file() and path.resolve() == home / name:
                yield TraceFile(name.as_posix(), path.read_bytes())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
