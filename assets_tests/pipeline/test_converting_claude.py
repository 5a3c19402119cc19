"""Claude Code sessions are told as a tree of answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.converting import convert
from pipeline.records import CUT, REPEATED, Conversation, Flaw, Origin, Reject, Trace, TraceFile, Usage
from renderers.messages import Message, Part, ToolCall

Line = dict[str, Any]
Convert = Callable[..., list[Conversation | Reject]]


def line(at: str, after: str | None, kind: str, content: Any, **fields: Any) -> Line:
    message = {"role": kind, "content": content, **fields.pop("message", {})}
    return {
        "type": kind,
        "uuid": at,
        "parentUuid": after,
        "sessionId": "s1",
        "version": "2.1",
        "message": message,
        **fields,
    }


def asked(at: str, after: str | None, text: str = "Fix it.", **fields: Any) -> Line:
    return line(at, after, "user", text, **fields)


def said(at: str, after: str, answer: str, *blocks: Any, stop: str | None = None, **fields: Any) -> Line:
    told = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    message = {"id": answer, "model": "claude", "stop_reason": stop, **fields.pop("message", {})}
    return line(at, after, "assistant", told, message=message, **fields)


def call(name: str) -> Line:
    return {"type": "tool_use", "id": name, "name": "Bash", "input": {"b": 1, "a": [0.5]}}


def result(at: str, after: str, of: str, content: Any = "ok") -> Line:
    return line(at, after, "user", [{"type": "tool_result", "tool_use_id": of, "content": content}])


@pytest.fixture
def read() -> Convert:
    """Converts a session of these lines."""

    def convert_lines(*lines: Line) -> list[Conversation | Reject]:
        files = (session("s.jsonl", *lines),)
        traces = [Trace(id="t-1", prompt_id="p", prompt="", agent="replay", format="claude-code", files=files)]
        return list(convert(traces))

    return convert_lines


def session(name: str, *lines: Line) -> TraceFile:
    return TraceFile(name, b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in lines))


def contents(told: Conversation) -> list[Any]:
    return [message.content for message in told.messages]


def test_an_answer_is_one_message_whatever_its_lines(read):
    (told,) = read(
        asked("a", None),
        said("b", "a", "m1", {"type": "thinking", "thinking": "Hm.", "signature": "x"}),
        said("c", "b", "m1", "Looking."),
        said("d", "c", "m1", call("c1")),
        said("e", "d", "m1", call("c2"), stop="tool_use"),
        result("f", "d", "c1"),
        result("g", "e", "c2", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        said("h", "g", "m2", "Done.", stop="end_turn"),
    )
    spelled = '{"b":1,"a":[0.5]}'
    calls = (ToolCall("Bash", spelled, "c1"), ToolCall("Bash", spelled, "c2"))
    assert told.messages == (
        Message("user", "Fix it."),
        Message("assistant", "Looking.", reasoning="Hm.", tool_calls=calls),
        Message("tool", "ok", tool_call_id="c1"),
        Message("tool", (Part("text", "a"), Part("text", "b")), tool_call_id="c2"),
        Message("assistant", "Done."),
    )
    assert [place.line for place in told.places] == [1, 2, 6, 7, 8]
    assert told.places[2].pointer == "/message/content/0"
    assert (told.status, told.model, told.agent_version, told.tools_recorded) == ("complete", "claude", "2.1", False)


def test_each_branch_is_told_and_learned_once(read):
    first, second = read(
        asked("a", None),
        said("b", "a", "m1", "One."),
        asked("c", "b", "Left?"),
        said("d", "c", "m2", "Left."),
        asked("e", "b", "Right?"),
        said("f", "e", "m3", "Right.", stop="max_tokens"),
    )
    assert contents(first) == ["Fix it.", "One.", "Left?", "Left."]
    assert contents(second) == ["Fix it.", "One.", "Right?", "Right."]
    assert second.flaws == (Flaw(1, REPEATED), Flaw(3, CUT))
    assert (first.window, second.window, second.status) == (0, 1, "length")


def test_a_compaction_begins_a_new_window(read):
    boundary = {"type": "system", "subtype": "compact_boundary", "uuid": "c", "parentUuid": None, "sessionId": "s1"}
    first, second = read(
        asked("a", None),
        said("b", "a", "m1", "One."),
        {**boundary, "logicalParentUuid": "b"},
        asked("d", "c", "This session is being continued…", isCompactSummary=True),
        said("e", "d", "m2", "Two."),
    )
    assert contents(first) == ["Fix it.", "One."]
    assert contents(second) == ["This session is being continued…", "Two."]


def test_what_the_harness_says_in_the_models_place_is_no_answer(read):
    failed = said("c", "b", "x1", "API Error: 500", isApiErrorMessage=True)
    (told,) = read(asked("a", None), said("b", "a", "m1", "One."), failed)
    assert (contents(told), told.status) == (["Fix it.", "One."], "error")


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (asked("c", "b", "[Request interrupted by user]"), "aborted"),
        (asked("c", "b", "<command-name>/exit</command-name>"), "complete"),
        (asked("c", "b", "And then?"), "killed"),
    ],
)
def test_the_status_is_how_the_branch_ended(read, last, status):
    (told,) = read(asked("a", None), said("b", "a", "m1", "One.", stop="end_turn"), last)
    assert told.status == status


def test_pictures_hold_their_bytes_and_thoughts_that_were_kept_back_are_marked(read):
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    (told,) = read(
        line("a", None, "user", [{"type": "text", "text": "See:"}, picture]),
        said("b", "a", "m1", {"type": "redacted_thinking", "data": "x"}),
        said("c", "b", "m1", "Red."),
    )
    assert told.messages[0].content[1] == Part("image_url", source="data:image/png;base64,AAAA")
    assert told.unreadable == (1,)


def test_what_a_hosted_tool_found_flaws_the_answer(read):
    search = {"type": "server_tool_use", "id": "x", "name": "web_search", "input": {}}
    (told,) = read(asked("a", None), said("b", "a", "m1", search, {"type": "web_search_tool_result"}, "So."))
    assert [flaw.message for flaw in told.flaws] == [1]


def test_a_session_says_where_it_comes_from_and_what_it_cost(read):
    tokens = {"input_tokens": 2, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 7}
    (told,) = read(
        asked("a", None, gitBranch="main", timestamp="2026-01-01T00:00:00Z", isSidechain=True, agentId="s2"),
        said("b", "a", "m1", "One.", message={"usage": {"output_tokens": 1}}),
        said("c", "b", "m1", "Two.", message={"usage": tokens}, timestamp="2026-01-01T00:00:09Z"),
    )
    assert told.origin == Origin(
        session="s2",
        parent="s1",
        branch="main",
        began="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:00:09Z",
        usage=Usage(input=10, cached=5, cache_written=3, output=7),
    )


def test_what_is_told_but_not_recorded_is_counted(read):
    hidden = {"type": "attachment", "uuid": "b", "parentUuid": "a", "sessionId": "s1", "attachment": {"type": "file"}}
    (told,) = read(asked("a", None), hidden, said("c", "b", "m1", "One."), {"type": "brand-new"})
    assert told.uncounted == {"attachment file": 1, "brand-new": 1}
    assert contents(told) == ["Fix it.", "One."]


@pytest.mark.parametrize("place", ["user", "assistant"])
def test_what_the_model_saw_and_we_cannot_tell_is_a_reject(read, place):
    bad = line("b", "a", place, [{"type": "hologram"}], **({"message": {"id": "m0"}} if place == "assistant" else {}))
    (reject,) = read(asked("a", None), bad, said("c", "b", "m1", "One."))
    assert (reject.reason, reject.detail[:10]) == ("unknown_item", "s.jsonl:2:")


def test_a_sub_agent_that_left_a_file_of_its_own_is_a_conversation_too():
    """Of one trace: its file lies below the session's. One that nothing can be said of spoils no other."""
    aside = {"isSidechain": True, "agentId": "x1"}
    files = (
        session("projects/p/s1.jsonl", asked("a", None), said("b", "a", "m1", "One.")),
        session("projects/p/s1/subagents/agent-x0.jsonl", asked("c", None, **aside)),
        session(
            "projects/p/s1/subagents/agent-x1.jsonl", asked("c", None, **aside), said("d", "c", "m2", "Two.", **aside)
        ),
    )
    trace = Trace(id="t-1", prompt_id="p", prompt="", agent="claude-code", format="claude-code", files=files)
    main, bad, helper = convert([trace])
    assert [(row.id, row.trace_id, contents(row)[-1]) for row in (main, helper)] == [
        ("t-1-0", "t-1", "One."),
        ("t-1.2-0", "t-1", "Two."),
    ]
    assert (bad.id, bad.reason) == ("t-1.1", "no_completion")
    assert (helper.origin.session, helper.origin.parent) == ("x1", "s1")
    assert helper.places[0].file == files[2].name
