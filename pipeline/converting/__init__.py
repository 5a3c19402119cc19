"""Trace formats, a row each, and the stage that reads them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pipeline.converting import codex, codex_lines, pi
from pipeline.errors import TraceError
from pipeline.records import Conversation, Reject, Trace


@dataclass(frozen=True)
class Format:
    """How one agent's session files are read."""

    convert: Callable[[Trace], Iterator[Conversation]]
    """A conversation a context window. Raises TraceError."""
    parent: Callable[[bytes], str | None] = lambda first_line: None
    """The session that a session goes on from, by its first line: the end of its file's stem."""


FORMATS = {
    "codex": Format(codex.convert, codex_lines.parent),
    "pi": Format(pi.convert),
}


def convert(traces: Iterable[Trace]) -> Iterator[Conversation | Reject]:
    """The conversations of each trace, or the reason why it cannot be told: no session spoils its neighbours."""
    for trace in traces:
        try:
            yield from _conversations(trace)
        except TraceError as error:
            yield Reject(id=trace.id, stage="conversations", reason=error.reason, detail=str(error))


def _conversations(trace: Trace) -> list[Conversation]:
    if trace.format not in FORMATS:
        known = ", ".join(FORMATS)
        raise TraceError("unknown_format", f"format {trace.format!r} is none of {known}; set the prompt's `format`")
    told = list(FORMATS[trace.format].convert(trace))
    if not told:
        name = trace.files[0].name
        raise TraceError("no_completion", f"{name}: the model says nothing in it; run it again, or drop its prompt")
    return told
