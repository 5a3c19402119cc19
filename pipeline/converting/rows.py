"""What formats of rows have in common: a JSON object is a conversation, and a bad one spoils no other.

A file holds one object a line, an array of them, or a single one. A row is told by a function of its fields, whatever
it came from: a file, a data set of the Hub or one in memory.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from pipeline.converting.lines import BOM, LINE_BYTES, NO_JSON, at, decode, lines_of, opened, refused, repaired
from pipeline.errors import TraceError
from pipeline.records import Conversation, Flaw, Origin, Place, Reject, Status, Trace, TraceFile
from renderers.messages import Message, tojson

Fields = Mapping[str, Any]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says, and where: a pointer a message."""

    messages: tuple[Message, ...]
    pointers: tuple[str, ...]
    tools: tuple[dict[str, Any], ...] = ()
    tools_recorded: bool = False
    model: str | None = None
    agent_version: str | None = None
    date: dt.date | None = None
    status: Status = "unknown"
    flaws: tuple[Flaw, ...] = ()
    origin: Origin = Origin()
    metadata: dict[str, Any] = {}
    called: Any = None
    """What the row calls itself, whatever that is."""


FEW = 10
"""Blank lines that may stand between the first two rows."""
Telling = Callable[[Fields], Iterable[Told]]
"""Fields -> the conversations of a row. Raises TraceError or what is raised by data of another shape."""
MISSHAPEN = (msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What reading data of another shape raises."""


def row_of(line: bytes, place: Place) -> Any:
    """What a line holds, or why it cannot be had."""
    try:
        return decode(repaired(line), Any, place)
    except TraceError as error:
        return error


Reading = Callable[[bytes, Place], Any]
"""As `row_of`, or the line as it is told (`Told`), if that can be had sooner."""


def rows_of(file: TraceFile, reading: Reading = row_of) -> Iterator[tuple[Place, Any]]:
    """Every row in its place. Raises TraceError for a file that holds none."""
    if _is_document(file):
        yield from _document(file)
        return
    for place, _, line in lines_of(file):
        yield place, reading(line, place)


def _is_document(file: TraceFile) -> bool:
    """Whether it is one JSON value in several lines, or an array in one: a bad first row does not make it one."""
    with opened(file) as stream:
        first = stream.readline(LINE_BYTES).removeprefix(BOM).strip()
        second = next((line for line in islice(stream, FEW) if not line.isspace()), b"")
    if not first.startswith(b"{"):
        return first.startswith(b"[")
    try:
        msgspec.json.decode(repaired(first))
    except NO_JSON:
        return first.endswith((b"{", b"[", b",", b":")) or not second.startswith(b"{")
    return False


def _document(file: TraceFile) -> Iterator[tuple[Place, Any]]:
    place = Place(file.name, 1)
    with opened(file) as stream:
        data = stream.read(LINE_BYTES + 1)
    if len(data) > LINE_BYTES:
        raise refused("too_large", place, "one JSON value; write one row a line (JSONL)")
    value = decode(data.removeprefix(BOM), Any, place)
    if not isinstance(value, list):
        yield place, value
        return
    for number, row in enumerate(value):
        yield at(place, f"/{number}"), row


def reader(
    telling: Telling, reading: Callable[[], Reading] = lambda: row_of
) -> Callable[[Trace], Iterator[Conversation | Reject]]:
    """The converter of a format that is told row by row."""

    def convert(trace: Trace) -> Iterator[Conversation | Reject]:
        for number, (place, row) in enumerate(rows_of(trace.files[0], reading())):
            yield from tell(telling, trace, place, row, f"{trace.id}-{number}", number)

    return convert


def tell(
    telling: Telling, trace: Trace, place: Place, row: Any, name: str, number: int = 0
) -> Iterator[Conversation | Reject]:
    """The conversations of one row, the first called `name`, or the reason why it cannot be told."""
    try:
        told = [row] if isinstance(row, Told) else _shaped(telling, row, place)
        if not any(map(_answered, told)):
            raise refused("no_completion", place, "the model says nothing in it; drop it")
        for part, one in enumerate(told):
            yield _conversation(trace, place, one, f"{name}.{part}" if part else name, number)
    except TraceError as error:
        yield Reject(id=name, stage="conversations", reason=error.reason, detail=str(error))


def _answered(told: Told) -> bool:
    for message in reversed(told.messages):  # noqa: SIM110  # a generator costs more than this
        if message.role == "assistant":
            return True
    return False


def _shaped(telling: Telling, row: Any, place: Place) -> list[Told]:
    if isinstance(row, TraceError):
        raise row
    if not isinstance(row, Mapping):
        raise refused("invalid_row", place, "no JSON object; write one a row")
    try:
        return list(telling(row))
    except TraceError as error:
        raise refused(error.reason, place, str(error)) from error
    except RecursionError as error:
        raise refused("invalid_row", place, "nested too deeply; drop it") from error
    except MISSHAPEN as error:
        raise refused("invalid_row", place, f"{error!r}; correct the row") from error


def _conversation(trace: Trace, place: Place, told: Told, name: str, window: int) -> Conversation:
    pointers = [place.pointer + pointer for pointer in told.pointers] if place.pointer else told.pointers
    file, line, time = place.file, place.line, place.time
    row = Conversation(  # more than 15 keywords would go through a dict
        id=name,
        trace_id=trace.id,
        prompt_id=trace.prompt_id,
        window=window,
        messages=told.messages,
        places=tuple([Place(file, line, pointer, time) for pointer in pointers]),
        tools=told.tools,
        tools_recorded=told.tools_recorded,
        format=trace.format,
        model=told.model,
        date=told.date,
        status=told.status,
        flaws=told.flaws,
        origin=told.origin,
        metadata={**trace.metadata, **told.metadata},
    )
    return row if told.agent_version is None else replace(row, agent_version=told.agent_version)


def listed(value: Any, what: str) -> list[Any]:
    """A list, be it written as JSON text. Raises TraceError."""
    value = json.loads(value) if isinstance(value, str) and value else value
    if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
        raise TraceError("invalid_row", f"`{what}` is no list")
    return list(value)


def specs(tools: Any) -> tuple[dict[str, Any], ...]:
    """Tool specs as OpenAI writes them, from a list of them, of bare functions, or of either as JSON text."""
    told = [json.loads(one) if isinstance(one, str) else dict(one) for one in listed(tools or [], "tools")]
    return tuple(one if "function" in one else {"type": "function", "function": one} for one in told)


def spelled(arguments: Any) -> str:
    """Arguments as text: as they were written, where they were text."""
    return arguments if isinstance(arguments, str) else tojson(arguments)


def plain(value: Any) -> dict[str, Any]:
    """A mapping, be it written as JSON text; anything else is none."""
    try:
        value = json.loads(value) if isinstance(value, str) and value.startswith("{") else value
    except ValueError:
        return {}
    return dict(value) if isinstance(value, Mapping) else {}


def named(row: Fields) -> dict[str, Any]:
    """The row's own metadata, and what it calls itself."""
    return with_id(plain(row.get("metadata")), row.get("id"))


def with_id(metadata: dict[str, Any], called: Any) -> dict[str, Any]:
    return {**metadata, "id": called} if isinstance(called, (str, int)) else metadata
