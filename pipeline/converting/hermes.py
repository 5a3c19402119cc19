"""Trajectories of Hermes Agent: ShareGPT rows whose values hold `<think>`, `<tool_call>` and `<tool_response>`.

The system message is written when a trajectory is saved and only declares the tools, in a protocol that no request had:
the tools are told as tools, the message is not. `hermes sessions export` writes rows with `messages` and
`system_prompt` instead. Source of the format: Hermes Agent's developer guide, "Trajectory Format".
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pipeline.converting import messages
from pipeline.converting.lines import day_of
from pipeline.converting.rows import Fields, Told, listed, named, specs
from pipeline.converting.sharegpt import message_of, role_of, split_thought, turns_of
from renderers.hub import from_hub
from renderers.messages import Message, ToolCall, tojson

GENERATED = "You are a function calling AI model."
TOOLS = re.compile(r"<tools>\s*(\[.*?\])\s*</tools>", re.DOTALL)
CALL = re.compile(r"\n?<tool_call>\n?(.*?)\n?</tool_call>", re.DOTALL)
RESULT = re.compile(r"<tool_response>\n?(.*?)\n?</tool_response>", re.DOTALL)


class Call(msgspec.Struct, frozen=True):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Result(msgspec.Struct, frozen=True):
    content: Any = ""
    tool_call_id: str | None = None
    name: str | None = None


def recognises(row: Fields) -> bool:
    if "system_prompt" in row and messages.recognises(row):
        return True
    turns = row.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        return False
    return any(isinstance(v := turn.get("value"), str) and ("<tool_call>" in v or "<tools>" in v) for turn in turns)


def tell(row: Fields) -> Iterator[Told]:
    """The row as one conversation."""
    if row.get("messages"):
        yield from messages.tell({"system": row.get("system_prompt"), **row})
        return
    told: list[Message] = []
    pointers: list[str] = []
    tools: tuple[dict[str, Any], ...] = ()
    for pointer, turn in turns_of(row):
        said = _said(turn)
        if declared := _declared(turn):
            tools, said = declared, said if not str(turn.get("value")).startswith(GENERATED) else []
        told += _answering(told, said)
        pointers += [pointer] * len(said)
    completed = row.get("completed")
    yield Told(
        messages=tuple(told),
        pointers=tuple(pointers),
        tools=tools or specs(row.get("tools")),
        tools_recorded=bool(tools) or row.get("tools") is not None,
        model=row["model"] if isinstance(row.get("model"), str) else None,
        date=day_of(str(row.get("timestamp"))),
        status="unknown" if completed is None else "complete" if completed else "error",
        metadata=named(row),
    )


def _declared(turn: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = TOOLS.search(str(turn.get("value"))) if role_of(turn) == "system" else None
    try:
        tools = listed(found[1], "tools") if found else []
    except ValueError:
        return ()
    return specs([{key: value for key, value in _function(tool).items() if value is not None} for tool in tools])


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool.get("function", tool)


def _said(turn: Mapping[str, Any]) -> list[Message]:
    """What one turn says: an answer with its calls, or a message for each result."""
    role, value = role_of(turn), turn.get("value")
    if isinstance(value, str) and role == "assistant":
        return [_answer(value)]
    if isinstance(value, str) and role == "tool" and (results := RESULT.findall(value)):
        return [_result(result) for result in results]
    return list(from_hub([message_of(turn)]))


def _answer(value: str) -> Message:
    """Calls that are no JSON stay what they are: text."""
    thought, rest = split_thought(value)
    calls: list[ToolCall] = []

    def take(found: re.Match[str]) -> str:
        try:
            call = msgspec.json.decode(found[1], type=Call)
        except (msgspec.DecodeError, RecursionError):
            return found[0]
        calls.append(ToolCall(call.name, bytes(call.arguments).decode()))
        return ""

    return Message("assistant", CALL.sub(take, rest), reasoning=thought, tool_calls=tuple(calls))


def _result(value: str) -> Message:
    try:
        told = msgspec.convert(json.loads(value), Result)
    except (ValueError, RecursionError):
        return Message("tool", value)
    content = told.content if isinstance(told.content, str) else tojson(told.content)
    return Message("tool", content, tool_call_id=told.tool_call_id, name=told.name)


def _answering(before: list[Message], said: list[Message]) -> list[Message]:
    """Results; the calls that they answer, which have no names of their own, get those of the results, by order."""
    if before and before[-1].tool_calls and said and all(message.role == "tool" for message in said):
        ids = [message.tool_call_id for message in said] + [None] * len(before[-1].tool_calls)
        named = zip(before[-1].tool_calls, ids, strict=False)
        before[-1] = before[-1].but(tool_calls=tuple(ToolCall(c.name, c.arguments, c.id or to) for c, to in named))
    return said
