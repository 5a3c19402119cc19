"""The Hub's simple trace format (STS): a `session` line, then a `message` a line; read, and written.

Written, it holds all that a conversation holds: what the format has no field for is extra, which viewers ignore.
Source of the format: Hugging Face Hub documentation, "Session Traces Format".
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline.converting.lines import at, day_of, read_lines, refused
from pipeline.converting.rows import Fields
from pipeline.records import Conversation, Flaw, Origin, Place, Trace
from renderers.messages import Content, Message, Part, Role, ToolCall, text

HARNESS = "tracemill"


class Function(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class Call(msgspec.Struct, frozen=True):
    function: Function
    id: str | None = None


class Said(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    role: Role
    content: str | None = ""
    reasoning_content: str | None = None
    tool_calls: tuple[Call, ...] = ()
    tool_call_id: str | None = None
    timestamp: float | None = None
    """Milliseconds since 1970."""
    model: str | None = None
    name: str | None = None
    parts: tuple[Part, ...] = ()
    """Ours: the content, where it is more than one text."""
    weight: float | None = None
    flaw: str | None = None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    harness: str | None = None
    id: str | None = None
    name: str | None = None
    message: Said | None = None
    tools: tuple[dict[str, Any], ...] | None = None
    model: str | None = None
    metadata: dict[str, Any] = {}


def recognises(row: Fields) -> bool:
    return row.get("type") == "session" and "harness" in row and "version" not in row and "cwd" not in row


def convert(trace: Trace) -> Iterator[Conversation]:
    """The session as one conversation."""
    head, model, ended = None, None, None
    uncounted = Counter[str]()
    messages: list[tuple[Message, Place, str | None]] = []
    for place, line in read_lines(trace.files[0], Line, uncounted):
        if head is None:
            if line.type != "session" or not line.harness:
                raise refused("wrong_format", place, "no session of the simple format begins so; set `format`")
            head = line
        elif line.type == "message" and line.message:
            said = line.message
            ended = _time(said.timestamp) or ended
            model = said.model or model
            messages.append((_message(said), at(place, "/message", _time(said.timestamp) or ""), said.flaw))
        else:
            uncounted[line.type] += 1
    assert head is not None, "an empty file is refused before"
    if not any(message.role == "assistant" for message, _, _ in messages):
        return
    began = next((place.time for _, place, _ in messages if place.time), None)
    yield Conversation(
        id=f"{trace.id}-0",
        trace_id=trace.id,
        prompt_id=trace.prompt_id,
        window=0,
        messages=tuple(message for message, _, _ in messages),
        places=tuple(place for _, place, _ in messages),
        tools=head.tools or (),
        tools_recorded=head.tools is not None,
        format=trace.format,
        model=model or head.model,
        date=day_of(began or ""),
        flaws=tuple(Flaw(index, why) for index, (_, _, why) in enumerate(messages) if why),
        origin=Origin(session=head.id, began=began, ended=ended),
        uncounted=dict(uncounted),
        metadata={**trace.metadata, **head.metadata},
    )


def write(conversation: Conversation, *, harness: str = HARNESS, name: str | None = None) -> Iterator[bytes]:
    """The conversation as lines of a file that the Hub shows as a trace."""
    head = Line(
        type="session",
        harness=harness,
        id=conversation.id,
        name=name,
        tools=conversation.tools if conversation.tools_recorded else None,
        model=conversation.model,
        metadata=conversation.metadata,
    )
    yield msgspec.json.encode(head) + b"\n"
    flaws = {flaw.message: flaw.reason for flaw in conversation.flaws}
    for index, message in enumerate(conversation.messages):
        place = conversation.places[index] if conversation.places else None
        said = _said(message, place.time if place else "", flaws.get(index))
        # The format asks for a content, be it empty.
        told = {"content": "", **msgspec.to_builtins(said)}
        yield msgspec.json.encode({"type": "message", "message": told}) + b"\n"


def _message(said: Said) -> Message:
    content: Content = said.parts or said.content or ""
    return Message(
        said.role,
        content,
        reasoning=said.reasoning_content,
        tool_calls=tuple(ToolCall(call.function.name, call.function.arguments, call.id) for call in said.tool_calls),
        tool_call_id=said.tool_call_id,
        name=said.name,
        weight=said.weight,
    )


def _said(message: Message, time: str, flaw: str | None) -> Said:
    return Said(
        role=message.role,
        content=text(message.content),
        reasoning_content=message.reasoning,
        tool_calls=tuple(Call(Function(call.name, call.arguments), call.id) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
        timestamp=_milliseconds(time),
        name=message.name,
        parts=() if isinstance(message.content, str) else message.content,
        weight=message.weight,
        flaw=flaw,
    )


def _time(milliseconds: float | None) -> str | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat() if milliseconds else None
    except (ValueError, OverflowError, OSError):
        return None


def _milliseconds(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() * 1000
    except ValueError:
        return None
