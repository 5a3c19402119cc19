"""Recorded sessions of real agents tell what their model was sent: the requests are the ground truth."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.converting import convert
from pipeline.gathering import session_of
from pipeline.records import Conversation
from renderers.hub import from_hub
from renderers.messages import Message, tojson

REFERENCE = Path(os.environ.get("TRACEMILL_REFERENCE", Path(__file__).resolve().parents[3] / "shared")) / "traces"
CASES = sorted(path.parent for path in REFERENCE.glob("*/*/ground_truth.json"))
pytestmark = pytest.mark.skipif(not CASES, reason="no reference folder: set TRACEMILL_REFERENCE")


def named(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def conversations(case: Path) -> list[Conversation]:
    """Every session file of a case, converted with those that it goes on from."""
    files = sorted(case.glob("session/*.jsonl"))
    traces = [session_of(path, files, case.parent.name) for path in files]
    told = list(convert(traces))
    assert all(isinstance(row, Conversation) for row in told), told
    return told


def segments(case: Path) -> Iterator[tuple[tuple[Message, ...], list[dict[str, Any]]]]:
    """What the model saw and answered, window by window, in our words."""
    for thread in json.loads((case / "ground_truth.json").read_bytes()).values():
        for segment in thread:
            told = from_hub(in_functions(message) for message in segment["messages"])
            yield tuple(map(respelled, told)) if case.parent.name == "pi" else told, segment["tools"]


def in_functions(message: dict[str, Any]) -> dict[str, Any]:
    """Custom calls as we tell them."""
    calls = [
        {"id": call["id"], "name": call["custom"]["name"], "arguments": tojson({"input": call["custom"]["input"]})}
        if call["type"] == "custom"
        else call
        for call in message.get("tool_calls", ())
    ]
    return {**message, "tool_calls": calls}


def respelled(message: Message) -> Message:
    """Pi parses arguments and spells them again; what it cannot parse becomes `{}`."""
    return message.but(tool_calls=tuple(type(c)(c.name, compact(c.arguments), c.id) for c in message.tool_calls))


def compact(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), separators=(",", ":"), ensure_ascii=False)
    except json.JSONDecodeError:
        return "{}"


def without_base_prompt(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Classic Codex records another base prompt than it sends, and Pi 0.74 records none."""
    return messages[1:] if messages[0].role == "system" else messages


def through_last_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    last = max(index for index, message in enumerate(messages) if message.role == "assistant")
    return messages[: last + 1]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_messages_are_what_the_model_saw(case):
    told = conversations(case)
    shown = (lambda messages: messages) if all(c.tools_recorded for c in told) else without_base_prompt
    ours = [shown(through_last_answer(c.messages)) for c in told]
    theirs = [shown(messages) for messages, _ in segments(case)]
    for messages in theirs:
        assert any(window[: len(messages)] == messages for window in ours)
    for window in ours:
        assert any(messages[: len(window)] == window for messages in theirs)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_recorded_tools_are_those_offered(case):
    offered = [
        {tool["function"]["name"]: tool["function"] for tool in tools if tool["type"] == "function"}
        for _, tools in segments(case)
    ]
    for conversation in conversations(case):
        if not conversation.tools_recorded:
            assert conversation.tools == ()
            continue
        ours = {tool["function"]["name"]: tool["function"] for tool in conversation.tools}
        assert any(ours | functions == ours for functions in offered)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_message_has_its_place(case):
    lines = {path.name: path.read_bytes().split(b"\n") for path in case.glob("session/*.jsonl")}
    for conversation in conversations(case):
        assert len(conversation.places) == len(conversation.messages)
        for message, place in zip(conversation.messages, conversation.places, strict=True):
            line = json.dumps(json.loads(lines[place.file][place.line - 1]), ensure_ascii=False)
            if isinstance(message.content, str) and message.role in ("user", "tool") and "\n" not in message.content:
                assert json.dumps(message.content, ensure_ascii=False)[1:-1] in line
