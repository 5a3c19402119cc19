"""Rows with `messages` as OpenAI writes them, and what their relatives call the same things.

`tools` is a list or JSON text; reasoning is `reasoning_content`, `reasoning` or `thinking`; arguments are text or an
object; functions may be those of before there were tools (`function_call`, role `function`).
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from pipeline.converting.rows import Fields, Told, listed, plain, specs, spelled, with_id
from pipeline.errors import TraceError
from pipeline.records import CUT, Flaw, Origin, Usage
from renderers.hub import from_hub
from renderers.messages import Message

COLUMNS = ("messages", "conversation", "conversations")
RENAMED = {"function": "tool", "model": "assistant"}
"""Roles that others call otherwise."""
USAGE = {
    "input": ("input", "prompt_tokens", "input_tokens"),
    "cached": ("cacheRead", "cached_tokens"),
    "cache_written": ("cacheWrite",),
    "output": ("output", "completion_tokens", "output_tokens"),
    "reasoning": ("reasoning", "reasoning_tokens"),
}


def recognises(row: Fields) -> bool:
    return column(row) is not None


def column(row: Fields) -> str | None:
    """Where the messages are."""
    for name in COLUMNS:
        held = row.get(name)
        first = held[0] if isinstance(held, list) and held else held
        if (name == "messages" and isinstance(held, str)) or (isinstance(first, Mapping) and "role" in first):
            return name
    return None


def tell(row: Fields) -> Iterator[Told]:
    """The row as one conversation."""
    name = column(row)
    if name is None:
        raise TraceError("no_messages", f"it has no `messages`, but {', '.join(map(str, row)) or 'nothing'}")
    ours = _of_ours(row)
    raw = [_of_functions(_whole(message) if ours else message) for message in listed(row[name], name)]
    pointers = pointers_of(name, len(raw))
    if isinstance(row.get("system"), str) and not any(message.get("role") == "system" for message in raw):
        raw, pointers = [{"role": "system", "content": row["system"]}, *raw], ("/system", *pointers)
    tools = specs(row.get("tools") or row.get("functions"))
    recorded = row.get("tools") is not None or row.get("functions") is not None
    said = plain(row.get("metadata")), row.get("model"), row.get("usage"), row.get("id")
    flaws = tuple(Flaw(index, CUT) for index, message in enumerate(raw) if message.get("finish_reason") == "length")
    told = told_of(from_hub(raw), pointers, tools, recorded, *said, flaws)
    yield msgspec.structs.replace(told, **ours) if ours else told


def _of_ours(row: Fields) -> dict[str, Any]:
    """What else a row says that Tracemill has published: messages that are not to be trained, how it ended, its day."""
    if not {"conversation_sha", "flaws"} <= row.keys():
        return {}
    flaws = msgspec.json.decode(row["flaws"], type=tuple[Flaw, ...])
    day = row.get("date")
    day = dt.date.fromisoformat(day[:10]) if isinstance(day, str) else day
    fields = {
        "date": day if isinstance(day, dt.date) else None,
        "status": row.get("status"),
        "agent_version": row.get("agent_version"),
    }
    return {"flaws": flaws, **{name: value for name, value in fields.items() if value is not None}}


def _whole(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A published message with the parts that its content was joined of."""
    return {**message, "content": json.loads(message["parts"])} if message.get("parts") else message


def told_of(
    messages: tuple[Message, ...],
    pointers: tuple[str, ...],
    tools: tuple[dict[str, Any], ...],
    recorded: bool,
    metadata: dict[str, Any],
    model: Any,
    counts: Any,
    called: Any,
    flaws: tuple[Flaw, ...] = (),
) -> Told:
    """These messages, and what else the row says."""
    model = model or metadata.get("model")
    return Told(
        messages=messages,
        pointers=pointers,
        tools=tools,
        tools_recorded=recorded,
        model=model if isinstance(model, str) else None,
        flaws=flaws,
        origin=Origin() if counts is None else Origin(usage=usage(counts)),
        metadata=with_id(metadata, called),
        called=called,
    )


@lru_cache(maxsize=1024)
def pointers_of(name: str, count: int) -> tuple[str, ...]:
    """A pointer a message."""
    return tuple([f"/{name}/{number}" for number in range(count)])


def usage(told: Any) -> Usage:
    """Tokens, under whatever names."""
    if told is None:
        return Usage()
    counts = plain(told)
    details = {**plain(counts.get("prompt_tokens_details")), **plain(counts.get("completion_tokens_details"))}
    found = {
        field: next((n for name in names if isinstance(n := {**details, **counts}.get(name), int)), 0)
        for field, names in USAGE.items()
    }
    return Usage(**found)


def _of_functions(raw: Any) -> Mapping[str, Any]:
    """A message; one from before there were tools as it would be said today."""
    if not isinstance(raw, (dict, Mapping)):
        raise TraceError("invalid_row", "a message is no object")
    role, calls = raw.get("role"), raw.get("tool_calls")
    if role not in RENAMED and "function_call" not in raw and not isinstance(calls, str):
        return raw
    message = {**raw, "role": RENAMED.get(role or "", role)}
    if isinstance(calls, str):
        message["tool_calls"] = listed(message["tool_calls"], "tool_calls")
    call = raw.get("function_call")
    if isinstance(call, Mapping) and not message.get("tool_calls"):
        function = {"name": call["name"], "arguments": spelled(call.get("arguments", "{}"))}
        message["tool_calls"] = [{"type": "function", "function": function}]
    return message
