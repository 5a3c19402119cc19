"""Codex rollouts are told as what the model saw and wrote."""

import gzip
import json
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from assets_tests.pipeline.codex_lines import ASKED, USAGE, Line, called, dumped, event, item, meta, output, read, said
from pipeline.converting import convert
from pipeline.records import Origin, Place, Trace, TraceFile, Usage
from renderers.messages import Message, Part, ToolCall


def test_a_response_is_one_message_whatever_its_items():
    (told,) = read(
        meta(),
        ASKED,
        item("reasoning", summary=[{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]),
        said("assistant", "Looking."),
        called("c1", arguments='{ "broken'),
        called("c2"),
        USAGE,
        output("c1"),
        output("c2"),
        item("reasoning", summary=[{"type": "summary_text", "text": "-"}], content=[{"type": "text", "text": "raw"}]),
        said("assistant", "Done."),
        USAGE,
    )
    calls = (ToolCall("shell", '{ "broken', "c1"), ToolCall("shell", '{"cmd": "ls"}', "c2"))
    assert told.messages == (
        Message("user", "Fix it."),
        Message("assistant", "Looking.", reasoning="a\n\nb", tool_calls=calls),
        Message("tool", "ok", tool_call_id="c1"),
        Message("tool", "ok", tool_call_id="c2"),
        Message("assistant", "Done.", reasoning="raw"),
    )
    assert [place.line for place in told.places] == [2, 3, 8, 9, 10]


@pytest.mark.parametrize("timestamp", ["2026-11-20T23:19:47.615Z", "", "long ago"])
def test_a_conversation_has_the_day_on_which_its_session_began(timestamp):
    (told,) = read(meta(timestamp=timestamp), ASKED, said("assistant", "One."))
    assert told.date == (date(2026, 11, 20) if timestamp.startswith("2026") else None)


def test_the_usage_record_parts_two_answers_in_a_row():
    (told,) = read(meta(), ASKED, said("assistant", "One."), USAGE, said("assistant", "Two."), USAGE)
    assert [message.content for message in told.messages] == ["Fix it.", "One.", "Two."]


def test_old_files_part_answers_by_token_counts_and_neighbours():
    count = event("token_count", info={"total": 1})
    (told,) = read(
        meta(),
        ASKED,
        event("token_count", info=None),
        said("assistant", "One."),
        event("token_count"),
        called("c1"),
        count,
        output("c1"),
        said("assistant", "Two."),
        count,
        said("assistant", "Three."),
    )
    assert [message.role[0] for message in told.messages] == list("uataa")
    assert told.messages[1] == Message("assistant", "One.", tool_calls=(ToolCall("shell", '{"cmd": "ls"}', "c1"),))


def test_events_say_nothing():
    lines = (meta(), ASKED, event("agent_message", message="shown"), said("assistant", "Done."), USAGE)
    assert read(*lines)[0].messages == (Message("user", "Fix it."), Message("assistant", "Done."))


def test_the_base_prompt_comes_first_and_once():
    base = {"text": "Be good."}
    developer = said("developer", "Be good.")
    (classic,) = read(meta(base_instructions=base), ASKED, said("assistant", "Done."))
    (code_mode,) = read(meta(base_instructions=base), developer, ASKED, said("assistant", "Done."))
    assert classic.messages == code_mode.messages
    assert classic.messages[0] == Message("system", "Be good.")
    assert classic.places[0] == Place("0.jsonl", 1, "/payload/base_instructions")
    assert code_mode.places[0] == Place("0.jsonl", 2, "/payload")


def test_several_pieces_stay_parts_and_pictures_hold_their_bytes():
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    (told,) = read(
        meta(),
        said("developer", "One.", "Two."),
        item("message", role="user", content=[{"type": "input_text", "text": "See:"}, picture]),
        called("c1"),
        USAGE,
        output("c1", [picture]),
        said("assistant", "Red."),
    )
    assert told.messages[0] == Message("system", (Part("text", "One."), Part("text", "Two.")))
    shown = Part("image_url", source="data:image/png;base64,AAAA")
    assert told.messages[1].content == (Part("text", "See:"), shown)
    assert told.messages[3].content == (shown,)


def test_custom_calls_are_wrapped_and_tools_declared_so():
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    patch = {"type": "custom", "name": "apply_patch", "description": "Edits.", "format": grammar}
    wait = {"type": "function", "name": "wait", "description": "Waits.", "parameters": {"type": "object"}}
    offered = [namespace("functions", patch), namespace("clock", wait), {"type": "web_search"}]
    (told,) = read(
        meta(),
        item("additional_tools", role="developer", tools=offered),
        ASKED,
        item("custom_tool_call", name="apply_patch", namespace="functions", input='*** "x"\né', call_id="c1"),
        called("c2", "wait", namespace="clock"),
        USAGE,
        item("custom_tool_call_output", call_id="c1", output="Done."),
        output("c2"),
        said("assistant", "Patched."),
    )
    assert [call.name for call in told.messages[1].tool_calls] == ["apply_patch", "clock__wait"]
    assert told.messages[1].tool_calls[0].arguments == '{"input": "*** \\"x\\"\\né"}'
    assert told.tools_recorded
    first, second = (tool["function"] for tool in told.tools)
    assert first["parameters"]["properties"] == {"input": {"type": "string", "description": "start: /.+/"}}
    assert second == {"name": "clock__wait", "description": "Waits.", "parameters": {"type": "object"}}


def namespace(name: str, *tools: dict[str, Any]) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "tools": list(tools)}


def test_what_is_not_recorded_is_not_claimed():
    (told,) = read(meta(), ASKED, said("assistant", "Done."))
    assert (told.tools, told.tools_recorded, told.status, told.model) == ((), False, "unknown", None)
    assert told.agent_version == "0.169.0"


def test_a_call_without_a_result_is_aborted_if_the_talk_goes_on():
    start = (meta(), ASKED, called("c1"), called("c2"), USAGE, output("c2"))
    (gone_on,) = read(*start, said("user", "<turn_aborted>"), said("assistant", "Done."))
    (killed,) = read(*start)
    assert gone_on.messages[2:4] == (
        Message("tool", "aborted", tool_call_id="c1"),
        Message("tool", "ok", tool_call_id="c2"),
    )
    assert [message.role[0] for message in killed.messages] == list("uat")


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ((), "unknown"),
        ((event("task_started"),), "killed"),
        ((event("task_started"), event("task_complete")), "complete"),
        ((event("task_started"), event("task_complete", error=None)), "complete"),
        ((event("task_started"), event("task_complete", error={"message": "401"})), "error"),
        ((event("task_started"), event("task_complete", error={"message": "reason: max_output_tokens"})), "length"),
        ((event("task_started"), event("turn_aborted", reason="interrupted")), "aborted"),
        ((event("task_started"), event("turn_aborted"), event("task_started"), event("task_complete")), "complete"),
    ],
)
def test_the_status_is_how_the_last_turn_ended(events, status):
    (told,) = read(meta(), ASKED, said("assistant", "Done."), *events)
    assert told.status == status
    assert [flaw.message for flaw in told.flaws] == ([1] if status == "length" else [])


def test_what_is_no_conversation_is_counted_if_it_is_new():
    (told,) = read(
        meta(),
        ASKED,
        {"type": "world_state", "payload": {}},
        {"type": "brand_new", "payload": {}},
        item("web_search_call", action={"type": "search"}),
        item("reasoning", summary=[], encrypted_content="AAAA"),
        USAGE,
        said("assistant", "Done."),
    )
    assert told.uncounted == {"brand_new": 1, "web_search_call": 1}
    assert [message.role[0] for message in told.messages] == list("ua")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (item("compaction", encrypted_content="AAAA"), "unknown_item"),
        (item("brand_new_item"), "unknown_item"),
        (item("message", role="critic", content=[]), "unknown_item"),
        (item("message", role="user", content=[{"type": "hologram"}]), "unknown_item"),
        (output("c1", [{"type": "encrypted_content", "encrypted_content": "AAAA"}]), "unknown_item"),
        ({"type": "compacted", "payload": {"message": "only a summary"}}, "lost_history"),
        (item("function_call", name="shell", arguments={}, call_id="c1"), "invalid_field"),
        (item("message", role="user"), "invalid_field"),
    ],
)
def test_what_the_model_saw_and_we_cannot_tell_is_a_reject(line, reason):
    (reject,) = read(meta(), ASKED, line, said("assistant", "Done."))
    assert (reject.id, reject.stage, reject.reason) == ("t-1", "conversations", reason)
    assert reject.detail.startswith("0.jsonl:3: ")
    assert "; " in reject.detail, "names the cure"


def test_a_session_without_an_answer_is_a_reject():
    assert read(meta(), ASKED)[0].reason == "no_completion"


def test_another_first_line_is_another_format():
    (reject,) = read({"type": "session", "version": 3, "id": "a pi session"}, ASKED)
    assert (reject.reason, reject.detail[:10]) == ("wrong_format", "0.jsonl:1:")


def test_the_oldest_files_have_no_envelopes():
    (told,) = read(
        {"id": "t1", "timestamp": "2025-08-01T10:00:00.000Z", "instructions": None, "git": {"commit_hash": "abc"}},
        {"record_type": "state"},
        {"type": "message", "id": None, "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
        {"record_type": "state"},
        {"type": "function_call", "id": "fc", "name": "shell", "arguments": "{}", "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
    )
    assert [message.role[0] for message in told.messages] == list("uata")
    assert (told.origin.session, told.origin.commit, told.uncounted) == ("t1", "abc", {})
    assert told.places[1] == Place("0.jsonl", 5)


@pytest.mark.parametrize("compress", [lambda data: pa.compress(data, "zstd", asbytes=True), gzip.compress])
def test_archived_sessions_are_read_compressed(compress):
    data = b"".join(map(dumped, (meta(), ASKED, said("assistant", "Done."))))
    file = TraceFile("r.jsonl.zst", compress(data))
    (told,) = convert([Trace(id="t", prompt_id="p", prompt="", agent="replay", format="codex", files=(file,))])
    assert [message.content for message in told.messages] == ["Fix it.", "Done."]
    assert told.places[0] == Place("r.jsonl.zst", 2, "/payload")


def test_a_thought_that_nobody_can_read_is_marked():
    summary = [{"type": "summary_text", "text": "Hm."}]
    (told,) = read(
        meta(),
        ASKED,
        item("reasoning", summary=summary, encrypted_content="AAAA"),
        said("assistant", "One."),
        USAGE,
        item("reasoning", summary=summary, content=[{"type": "reasoning_text", "text": "raw"}], encrypted_content="A"),
        said("assistant", "Two."),
    )
    assert [message.reasoning for message in told.messages] == [None, "Hm.", "raw"]
    assert told.unreadable == (1,)


def test_an_answer_that_rests_on_a_hosted_search_is_flawed():
    search = item("web_search_call", action={"type": "search", "query": "x"})
    (told,) = read(meta(), ASKED, search, USAGE, said("assistant", "Found."), USAGE, said("assistant", "So."), USAGE)
    assert [flaw.message for flaw in told.flaws] == [1]
    assert "hosted" in told.flaws[0].reason


def test_every_kind_of_call_is_told():
    spec = {"type": "function", "name": "wait", "parameters": {"type": "object"}}
    (told,) = read(
        meta(),
        item("additional_tools", role="developer", tools=[{"type": "function", "name": "sh"}]),
        ASKED,
        item("local_shell_call", call_id="c1", status="completed", action={"type": "exec", "command": ["ls"]}),
        item("tool_search_call", call_id="c2", execution="client", arguments={"query": "wait"}),
        USAGE,
        output("c1"),
        item("tool_search_output", call_id="c2", execution="client", status="completed", tools=[spec]),
        item("agent_message", author="root", recipient="me", content=[{"type": "input_text", "text": "Hurry."}]),
        said("assistant", "Done."),
    )
    shell, search = told.messages[1].tool_calls
    assert (shell.name, json.loads(shell.arguments)["command"]) == ("local_shell", ["ls"])
    assert search == ToolCall("tool_search", '{"query": "wait"}', "c2")
    assert told.messages[3] == Message("tool", json.dumps([spec]), tool_call_id="c2")
    assert told.messages[4] == Message("user", "Hurry.", name="root")
    assert [tool["function"]["name"] for tool in told.tools] == ["sh", "wait"]


def test_a_session_says_where_it_comes_from_and_what_it_cost():
    spent = {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 3, "reasoning_output_tokens": 1}
    git = {"commit_hash": "abc", "branch": "main", "repository_url": "https://me:key@example.org/x.git"}
    first = {"timestamp": "2026-01-01T00:00:00Z", **meta(timestamp="2026-01-01T00:00:00Z", git=git)}
    record = {"type": "token_usage_record", "payload": {"usage": spent}}
    (told,) = read(first, ASKED, said("assistant", "One."), record, said("assistant", "Two."), record)
    assert told.origin == Origin(
        session="t1",
        repository="https://example.org/x.git",
        branch="main",
        commit="abc",
        began="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:00:00Z",
        usage=Usage(input=20, cached=8, output=6, reasoning=2),
    )


def test_old_files_say_at_last_what_they_cost():
    def count(n: int) -> Line:
        return event("token_count", info={"total_token_usage": {"input_tokens": n, "output_tokens": n}})

    (told,) = read(meta(), ASKED, said("assistant", "One."), count(1), count(1), said("assistant", "Two."), count(5))
    assert told.origin.usage == Usage(input=5, output=5)
