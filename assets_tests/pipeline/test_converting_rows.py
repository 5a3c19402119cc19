"""Rows of others are told as they were meant, and leave as what they came as."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.converting import convert
from pipeline.converting.simple import write
from pipeline.records import CUT, REPEATED, Conversation, Flaw, Origin, Place, Reject, Trace, TraceFile, Usage
from renderers.messages import Message, Part, ToolCall

Fields = dict[str, Any]
Convert = Callable[..., list[Conversation | Reject]]


@pytest.fixture
def read() -> Convert:
    """Converts rows of a format."""

    def convert_rows(name: str, *rows: Fields | bytes) -> list[Conversation | Reject]:
        lines = (row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)
        files = (TraceFile("r.jsonl", b"".join(lines)),)
        return list(convert([Trace(id="t", prompt_id="p", prompt="", agent="replay", format=name, files=files)]))

    return convert_rows


def test_messages_are_told_whatever_their_fields_are_called(read):
    call = {"id": "c", "type": "function", "function": {"name": "sh", "arguments": '{"a":  1}'}}
    row = {
        "id": "mine",
        "messages": [
            {"role": "user", "content": "Fix it."},
            {"role": "assistant", "content": None, "thinking": "Hm.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
            {"role": "assistant", "content": "Done.", "train": False, "finish_reason": "length"},
        ],
        "tools": json.dumps([{"name": "sh", "parameters": {}}]),
        "system": "Be good.",
        "metadata": '{"model": "m-1", "k": 1}',
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
    }
    (told,) = read("messages", row)
    assert told.messages == (
        Message("system", "Be good."),
        Message("user", "Fix it."),
        Message("assistant", reasoning="Hm.", tool_calls=(ToolCall("sh", '{"a":  1}', "c"),)),
        Message("tool", "ok", tool_call_id="c"),
        Message("assistant", "Done.", weight=0.0),
    )
    assert [place.pointer for place in told.places] == ["/system", *(f"/messages/{n}" for n in range(4))]
    assert told.tools == ({"type": "function", "function": {"name": "sh", "parameters": {}}},)
    assert (told.tools_recorded, told.model, told.metadata) == (True, "m-1", {"model": "m-1", "k": 1, "id": "mine"})
    assert told.origin.usage == Usage(input=5, cached=1, output=2)
    assert told.flaws == (Flaw(4, CUT),)


def test_functions_of_before_there_were_tools_are_tools(read):
    said = {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}}
    row = {"messages": [{"role": "user", "content": "x"}, said, {"role": "function", "name": "f", "content": "1"}]}
    (told,) = read("messages", {**row, "functions": [{"name": "f"}]})
    assert told.messages[1].tool_calls == (ToolCall("f", "{}"),)
    assert told.messages[2] == Message("tool", "1", name="f")
    assert told.tools[0]["function"] == {"name": "f"}


def test_rows_of_a_chat_provider_are_told_with_their_follow_ups(read):
    single, several = read(
        "chat",
        {"prompt": "a", "response": "b", "thinking": "Hm.", "system": "S", "usage": {"input": 3, "cacheRead": 1}},
        {"prompt": "a", "follow_up_prompts": ["c"], "responses": ["b", "d"], "thinking": "Hm."},
    )
    assert single.messages == (Message("system", "S"), Message("user", "a"), Message("assistant", "b", reasoning="Hm."))
    assert single.origin.usage == Usage(input=3, cached=1)
    assert [(m.content, m.reasoning) for m in several.messages] == [
        ("a", None),
        ("b", None),
        ("c", None),
        ("d", "Hm."),
    ]


def test_sharegpt_is_told_with_its_calls_and_thoughts(read):
    turns = [
        {"from": "human", "value": "<think>mine</think>"},
        {"from": "function_call", "value": '{"name": "sh", "arguments": {"a": 1}}', "weight": 0},
        {"from": "observation", "value": "ok"},
        {"from": "gpt", "value": "<think>\nHm.\n</think>\n\n  Done."},
    ]
    (told,) = read("sharegpt", {"conversations": turns, "system": "S", "tools": '[{"name": "sh"}]'})
    assert told.messages == (
        Message("system", "S"),
        Message("user", "<think>mine</think>"),
        Message("assistant", tool_calls=(ToolCall("sh", '{"a": 1}'),), weight=0.0),
        Message("tool", "ok"),
        Message("assistant", "  Done.", reasoning="Hm."),
    )


def test_a_turn_from_nobody_known_is_a_reject(read):
    (reject,) = read("sharegpt", {"conversations": [{"from": "oracle", "value": "x"}]})
    assert (reject.reason, reject.detail[:10]) == ("unknown_item", "r.jsonl:1:")


def test_a_trajectory_of_hermes_is_told_without_its_protocol(read):
    declared = "You are a function calling AI model. <tools>\n" + '[{"name": "sh", "required": null}]' + "\n</tools>"
    called = '<tool_call>\n{"name": "sh", "arguments": {"a":  1e0}}\n</tool_call>'
    results = [{"tool_call_id": f"c{n}", "name": "sh", "content": c} for n, c in ((1, "ok"), (2, {"x": [1]}))]
    turns = [
        {"from": "system", "value": declared},
        {"from": "human", "value": "Fix it."},
        {"from": "gpt", "value": f"<think>\nHm.\n</think>\nLooking.\n{called}\n{called}"},
        {"from": "tool", "value": "\n".join(f"<tool_response>\n{json.dumps(r)}\n</tool_response>" for r in results)},
        {"from": "gpt", "value": "<think>\n</think>\nSee <tool_call>\nnot json\n</tool_call>"},
    ]
    row = {"conversations": turns, "timestamp": "2026-03-30T14:22:31", "model": "m", "completed": False}
    (told,) = read("hermes", row)
    calls = tuple(ToolCall("sh", '{"a":  1e0}', f"c{n}") for n in (1, 2))
    assert told.messages == (
        Message("user", "Fix it."),
        Message("assistant", "Looking.", reasoning="Hm.", tool_calls=calls),
        Message("tool", "ok", tool_call_id="c1", name="sh"),
        Message("tool", '{"x": [1]}', tool_call_id="c2", name="sh"),
        Message("assistant", "See <tool_call>\nnot json\n</tool_call>"),
    )
    assert [place.pointer[-1] for place in told.places] == list("12334")
    assert told.tools == ({"type": "function", "function": {"name": "sh"}},)
    assert (told.status, told.model, str(told.date)) == ("error", "m", "2026-03-30")


def test_an_exported_session_of_hermes_is_told_with_its_prompt(read):
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "reasoning": "Hm."}]
    (told,) = read("hermes", {"id": "s", "system_prompt": "S", "messages": said})
    assert [message.content for message in told.messages] == ["S", "x", "y"]


def trajectory(*steps: Fields, **fields: Any) -> Fields:
    agent = {"name": "a", "version": "2", "model_name": "m", "tool_definitions": [{"function": {"name": "sh"}}]}
    return {"schema_version": "ATIF-v1.7", "session_id": "s", "agent": agent, "steps": list(steps), **fields}


def test_a_trajectory_is_told_step_by_step(read):
    called = {"tool_call_id": "c", "function_name": "sh", "arguments": {"a": 1}}
    shown = [{"type": "text", "text": "See"}, {"type": "image", "source": {"media_type": "image/png", "path": "1.png"}}]
    metrics = {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 1}
    (told,) = read(
        "atif",
        trajectory(
            {"source": "system", "message": "S"},
            {"source": "user", "message": shown, "timestamp": "2026-01-01T00:00:00Z"},
            {
                "source": "agent",
                "message": "",
                "reasoning_content": "Hm.",
                "tool_calls": [called],
                "observation": {"results": [{"source_call_id": "c", "content": "ok"}]},
                "metrics": metrics,
            },
            {"source": "agent", "message": "keys", "observation": {"results": [{"content": "$ "}]}},
            {"source": "agent", "message": "Done.", "timestamp": "2026-01-01T00:00:09Z"},
        ),
    )
    assert told.messages == (
        Message("system", "S"),
        Message("user", (Part("text", "See"), Part("image", source="1.png"))),
        Message("assistant", reasoning="Hm.", tool_calls=(ToolCall("sh", '{"a": 1}', "c"),)),
        Message("tool", "ok", tool_call_id="c"),
        Message("assistant", "keys"),
        Message("user", "$ "),
        Message("assistant", "Done."),
    )
    assert told.places[3].pointer == "/steps/2/observation/results/0"
    assert (told.model, told.agent_version, told.tools_recorded) == ("m", "2", True)
    began, ended = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"
    assert told.origin == Origin(session="s", began=began, ended=ended, usage=Usage(input=5, cached=1, output=2))


def test_steps_that_were_copied_or_that_no_model_wrote_are_not_learned(read):
    copied = {"source": "agent", "message": "old", "is_copied_context": True, "metrics": {"prompt_tokens": 9}}
    (told,) = read(
        "atif",
        trajectory(
            copied,
            {"source": "agent", "message": "fixed", "llm_call_count": 0},
            {"source": "agent", "message": "two", "llm_call_count": 2},
            {"source": "agent", "message": "new", "llm_call_count": 1},
        ),
    )
    assert [flaw.message for flaw in told.flaws] == [0, 1, 2]
    assert told.flaws[0].reason == REPEATED
    assert told.origin.usage == Usage()


def test_trajectories_of_sub_agents_are_conversations_of_their_own(read):
    inner = trajectory({"source": "agent", "message": "y"}, session_id="s2", agent={"name": "b"})
    root, sub = read("atif", trajectory({"source": "agent", "message": "x"}, subagent_trajectories=[inner]))
    assert (root.id, sub.id) == ("t-0", "t-0.1")
    assert (sub.origin.session, sub.origin.parent, sub.metadata) == ("s2", "s", {"agent": "b"})
    assert sub.places[0].pointer == "/subagent_trajectories/0/steps/0"


def test_another_schema_is_a_reject(read):
    (reject,) = read("atif", trajectory(schema_version="ATIF-v2.0"))
    assert reject.reason == "wrong_format"


def test_what_is_written_as_a_simple_trace_is_read_as_it_was(read):
    whole = Conversation(
        id="c-1",
        trace_id="c",
        prompt_id="p",
        window=0,
        messages=(
            Message("system", "S"),
            Message("user", (Part("text", "See"), Part("image_url", source="data:image/png;base64,AAAA"))),
            Message("assistant", "", reasoning="Hm.", tool_calls=(ToolCall("sh", '{"a":  1}', "c"),)),
            Message("tool", "ok", tool_call_id="c"),
            Message("assistant", "a\u2028b", weight=0.5),
        ),
        places=tuple(Place("x", n, time=f"2026-01-01T00:00:0{n}+00:00" if n else "") for n in range(5)),
        tools=({"type": "function", "function": {"name": "sh"}},),
        tools_recorded=True,
        format="codex",
        model="m",
        flaws=(Flaw(2, "why"),),
        metadata={"k": [1, None]},
    )
    lines = list(write(whole, name="a title"))
    head, *told = map(json.loads, lines)
    assert (head["type"], head["harness"], head["id"], head["name"]) == ("session", "tracemill", "c-1", "a title")
    assert all(line["type"] == "message" and isinstance(line["message"]["content"], str) for line in told)
    assert told[2]["message"]["toolCalls"] == [{"function": {"name": "sh", "arguments": '{"a":  1}'}, "id": "c"}]
    (again,) = read("simple", *lines)
    for field in ("messages", "tools", "tools_recorded", "model", "flaws", "metadata"):
        assert getattr(again, field) == getattr(whole, field), field
    assert [place.time for place in again.places] == [place.time for place in whole.places]
    assert again.origin.session == "c-1"
