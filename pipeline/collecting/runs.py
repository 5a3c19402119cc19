"""What is the same of every run: its clock, its trace, and how it ended."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

import msgspec

from pipeline.collecting.agent import Format, Line
from pipeline.collecting.wire import finish_of
from pipeline.errors import TraceError
from pipeline.records import Conversation, Exchange, Prompt, Status, Trace, TraceFile

CUT = ("length", "max_output_tokens", "max_tokens", "model_context_window_exceeded")
DONE = ("stop", "completed", "tool_calls", "end_turn", "stop_sequence", "tool_use")


@dataclass(frozen=True)
class Clock:
    """A run's time, from when it is made."""

    seconds: float
    """That it may take."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    @property
    def left(self) -> float:
        return max(self.seconds - self.elapsed, 1.0)


def trace_id(prompt: Prompt, files: Sequence[TraceFile]) -> str:
    """From the prompt and the bytes."""
    digest = blake2b(prompt.id.encode(), digest_size=6)
    for file in files:
        digest.update(f"\n{file.name}\n{len(file.data)}\n".encode())
        digest.update(file.data)
    return f"t-{digest.hexdigest()}"


def trace_of(
    prompt: Prompt,
    files: tuple[TraceFile, ...],
    line: Line,
    clock: Clock,
    *,
    format: str,  # noqa: A002, the field is called so
    agent_version: str,
    sandbox: str | None = None,
    commit: str | None = None,
) -> Trace:
    """What a run left, its status not yet known."""
    return Trace(
        id=trace_id(prompt, files),
        prompt_id=prompt.id,
        prompt=prompt.prompt,
        agent=prompt.agent,
        format=format,
        files=files,
        metadata=prompt.metadata,
        exchanges=line.exchanges,
        usage=line.usage,
        cost_usd=line.cost_usd,
        model=prompt.model,
        agent_version=agent_version,
        sandbox=sandbox,
        commit=commit,
        started=clock.started.isoformat(timespec="seconds"),
        seconds=round(clock.elapsed, 3),
    )


def with_status(trace: Trace, formats: Mapping[str, Format], *, timed_out: bool) -> Trace:
    """The trace, and how its run ended: as its session says, unless the recorder knows better; never the exit code."""
    return msgspec.structs.replace(trace, status=_status(trace, formats, timed_out=timed_out))


def _status(trace: Trace, formats: Mapping[str, Format], *, timed_out: bool) -> Status:
    told = _told(trace, formats)
    if timed_out:
        return "aborted" if told == "aborted" else "killed"
    last = trace.exchanges[-1] if trace.exchanges else None
    if last is None or last.status >= 400:
        return "error"
    finish = finish_of(last.api, msgspec.json.decode(last.answer))
    if finish in CUT:
        return "length"
    return "complete" if told == "unknown" and finish in DONE else told


def _told(trace: Trace, formats: Mapping[str, Format]) -> Status:
    """What the session says of its last context window."""
    try:
        told = list(formats[trace.format].convert(trace)) if trace.format in formats else []
    except TraceError:
        told = []
    windows = [one for one in told if isinstance(one, Conversation)]
    return windows[-1].status if windows else "unknown"


def cut_short(exchanges: Sequence[Exchange]) -> bool:
    """Whether there is nothing to go on from: no answer, or not all of it."""
    last = exchanges[-1] if exchanges else None
    return last is None or last.status >= 400 or finish_of(last.api, msgspec.json.decode(last.answer)) in CUT
