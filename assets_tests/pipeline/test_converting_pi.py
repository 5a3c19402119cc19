"""Pi sessions are told as what Pi sent to the model, branch by branch."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pipeline.converting import convert
from pipeline.records import CUT, REPEATED, Conversation, Flaw, Reject, Trace, TraceFile, Usage
from renderers.messages import Message, Part, ToolCall

Line = dict[str, Any]
Convert = Callable[..., list[Conversation | Reject]]

HEAD: Line = {"type": "session", "version": 3, "id": "s1"}
PICTURE: dict[str, Any] = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
SHOWN = Part("image_url", source="data:image/png;base64,AAAA")


def entry(at: str, after: str | None, kind: str = "message", **fields: Any) -> Line:
    return {"type": kind, "id": at, "parentId": after, **fields}


def said(at: str, after: str | None, role: str, content: Any = "", **fields: Any) -> Line:
    return entry(at, after, message={"role": role, "content": content, **fields})


def asked(at: str, after: str | None, text: str = "Fix it.") -> Line:
    return said(at, after, "user", [{"type": "text", "text": text}])


def answered(at: str, after: str, *blocks: Any, stop: str = "stop", **fields: Any) -> Line:
    told = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    speaker = {"api": "openai-completions", "provider": "p", "model": "m"}
    return said(at, after, "assistant", told, **{**speaker, "stopReason": stop, **fields})


def call(name: str, arguments: Any = None) -> dict[str, Any]:
    return {"type": "toolCall", "id": name, "name": "bash", "arguments": arguments or {}}


def output(at: str, after: str, of: str, *blocks: Any) -> Line:
    told = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    return said(at, after, "toolResult", told, toolCallId=of, toolName="bash", isError=False)


@pytest.fixture
def read() -> Convert:
    """Converts a session of these entries."""

    def convert_lines(*lines: Line, head: Line = HEAD) -> list[Conversation | Reject]:
        data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in (head, *lines))
        files = (TraceFile("s.jsonl", data),)
        return list(convert([Trace(id="t-1", prompt_id="p-1", prompt="", agent="replay", format="pi", files=files)]))

    return convert_lines


def contents(told: Conversation) -> list[Any]:
    return [message.content for message in told.messages]


def test_a_plain_session_is_told_as_it_was(read):
    thought = [{"type": "thinking", "thinking": text} for text in ("One.", " ", "Two.")]
    (told,) = read(
        asked("a", None),
        answered("b", "a", *thought, "Let me ", "see.", call("c1|fc_1", {"b": 1, "a": [0.5, "é"]}), stop="toolUse"),
        output("c", "b", "c1|fc_1", "x", "y"),
        answered("d", "c", "Done.", responseModel="m-2026"),
    )
    spelled = ToolCall("bash", '{"b":1,"a":[0.5,"\\u00e9"]}', "c1")
    assert told.messages == (
        Message("user", "Fix it."),
        Message("assistant", "Let me see.", reasoning="One.\nTwo.", tool_calls=(spelled,)),
        Message("tool", "x\ny", tool_call_id="c1"),
        Message("assistant", "Done."),
    )
    assert [place.line for place in told.places] == [2, 3, 4, 5]
    assert (told.status, told.model, told.tools_recorded) == ("complete", "m-2026", False)


@pytest.mark.parametrize(
    ("timestamp", "day"), [("2026-11-20T23:21:00.538Z", date(2026, 11, 20)), ("yesterday", None), ("", None)]
)
def test_a_conversation_has_the_day_on_which_its_session_began(read, timestamp, day):
    told = read(asked("a", None), answered("b", "a", "Done."), head={**HEAD, "timestamp": timestamp})
    assert [one.date for one in told] == [day]


def test_each_branch_is_told_that_the_model_spoke_in(read):
    first, second = read(
        asked("a", None),
        answered("b", "a", "One."),
        asked("c", "b", "Left?"),
        answered("d", "c", "Left."),
        entry("e", "b", "branch_summary", summary="Went left.", fromId="d"),
        asked("f", "e", "Right?"),
        answered("g", "f", "Right.", stop="length"),
        entry("h", "b", "label", label="nothing said here"),
    )
    summary = (
        "The following is a summary of a branch that this conversation came back from:"
        "\n\n<summary>\nWent left.</summary>"
    )
    assert contents(first) == ["Fix it.", "One.", "Left?", "Left."]
    assert contents(second) == ["Fix it.", "One.", summary, "Right?", "Right."]
    assert [(told.id, told.status) for told in (first, second)] == [("t-1-0", "complete"), ("t-1-1", "length")]


def test_the_oldest_files_are_one_branch(read):
    lines = [asked("a", None), answered("b", "a", "One.")]
    bare = [{key: line[key] for key in ("type", "message")} for line in lines]
    assert contents(read(*bare, head={"type": "session", "id": "s1"})[0]) == ["Fix it.", "One."]


def test_system_messages_are_replayed(read):
    bash = {"name": "bash", "description": "Runs.", "parameters": {"type": "object"}, "constrainedSampling": {}}
    write = {"name": "write", "description": "Writes.", "parameters": {}}
    (told,) = read(
        said("a", None, "system", "", sections={"preamble": "P", "skills": "S", "cwd": "C"}, toolsAdded=[write]),
        asked("b", "a"),
        answered("c", "b", "One."),
        said(
            "d",
            "c",
            "system",
            "",
            sections={"skills": None, "cwd": "D", "new": "N"},
            toolsAdded=[bash],
            toolsRemoved=[{"name": "write"}],
        ),
        asked("e", "d"),
        answered("f", "e", "Two."),
    )
    assert told.messages[0] == Message("system", "P\n\nD\n\nN")
    spec = {"name": "bash", "description": "Runs.", "parameters": {"type": "object"}}
    assert told.tools == ({"type": "function", "function": spec},)
    assert told.tools_recorded
    assert [message.role[0] for message in told.messages] == list("suaua")


def test_a_compaction_opens_a_new_window(read):
    prompt = {"role": "system", "content": "", "sections": {"preamble": "New."}, "toolsAdded": []}
    first, second = read(
        said("a", None, "system", "", sections={"preamble": "Old."}),
        asked("b", "a"),
        answered("c", "b", "One."),
        said("d", "c", "system", "", sections={"skills": "S"}),
        asked("e", "d", "More?"),
        entry("f", "e", "compaction", summary="Half done.", firstKeptEntryId="c", systemMessage=prompt),
        answered("g", "f", "Two."),
    )
    summary = (
        "The conversation history before this point was compacted into the following summary:"
        "\n\n<summary>\nHalf done.\n</summary>"
    )
    assert contents(first) == ["Old.\n\nS", "Fix it.", "One.", "More?"]
    assert contents(second) == ["New.", summary, "One.", "More?", "Two."]
    assert [place.line for place in second.places] == [7, 7, 4, 6, 8]


def test_a_compaction_may_keep_nothing(read):
    *_, last = read(
        asked("a", None),
        answered("b", "a", "One."),
        entry("c", "b", "compaction", summary="All.", firstKeptEntryId="c"),
        asked("d", "c", "More?"),
        answered("e", "d", "Two."),
    )
    assert contents(last)[1:] == ["More?", "Two."]


def test_edits_failures_and_aborts_are_not_sent_again(read):
    (told,) = read(
        asked("a", None, "Secret."),
        answered("b", "a", "Half an ans", stop="error"),
        answered("c", "b", "Never", stop="aborted"),
        answered("d", "c", "Omitted."),
        entry("e", "d", "context_edit", targetId="d", replacement=None),
        entry("f", "e", "context_edit", targetId="a", replacement={"content": "First."}),
        entry("g", "f", "context_edit", targetId="a", replacement={"content": [{"type": "text", "text": "Last."}]}),
        answered("h", "g", "Kept."),
    )
    assert contents(told) == ["Last.", "Kept."]


def test_others_speak_in_the_users_role(read):
    bash = {"command": "ls", "output": "x\n", "cancelled": False, "truncated": True, "fullOutputPath": "/tmp/o"}
    (told,) = read(
        said("a", None, "bashExecution", None, exitCode=2, **bash),
        said("b", "a", "bashExecution", None, exitCode=0, excludeFromContext=True, **bash),
        said("c", "b", "bashExecution", None, command="true", output="", cancelled=True, exitCode=None),
        entry("d", "c", "custom_message", content="Note.", customType="x", display=False),
        said("e", "d", "custom", [{"type": "text", "text": "A"}, PICTURE]),
        entry("f", "e", "custom", customType="x", data={"content": "never"}),
        answered("g", "f", "Done."),
    )
    assert contents(told) == [
        "Ran `ls`\n```\nx\n\n```\n\nCommand exited with code 2\n\n[Output truncated. Full output: /tmp/o]",
        "Ran `true`\n(no output)\n\n(command cancelled)",
        "Note.",
        (Part("text", "A"), SHOWN),
        "Done.",
    ]


@pytest.mark.parametrize("api", ["openai-completions", "openai-responses"])
def test_pictures_in_results_stand_where_the_provider_has_room(read, api):
    (told,) = read(
        asked("a", None),
        answered("b", "a", call("c1"), call("c2"), stop="toolUse", api=api),
        output("c", "b", "c1", PICTURE),
        output("d", "c", "c2"),
        answered("e", "d", "Red.", api=api),
    )
    attached = (Part("text", "Attached image(s) from tool result:"), SHOWN)
    if api == "openai-completions":
        assert contents(told)[2:] == ["(see attached image)", "(no tool output)", attached, "Red."]
    else:
        assert contents(told)[2:] == [(SHOWN,), "(no tool output)", "Red."]


def test_a_call_without_a_result_gets_one_if_the_talk_goes_on(read):
    start = (asked("a", None), answered("b", "a", call("c1"), call("c2"), stop="toolUse"), output("c", "b", "c2", "ok"))
    (gone_on,) = read(*start, asked("d", "c", "Again."), answered("e", "d", "Done."))
    (killed,) = read(*start)
    assert contents(gone_on)[2:] == ["ok", "No result provided", "Again.", "Done."]
    assert contents(killed)[2:] == ["ok"]
    assert (gone_on.status, killed.status) == ("complete", "killed")


def test_a_thought_goes_back_only_to_the_model_that_had_it(read):
    thought = {"type": "thinking", "thinking": "Hm."}
    (told,) = read(
        asked("a", None),
        answered("b", "a", thought, "One."),
        asked("c", "b", "More?"),
        answered("d", "c", thought, "Two.", model="other"),
    )
    assert [message.reasoning for message in told.messages] == [None, None, None, "Hm."]


def test_what_is_no_conversation_is_counted_if_it_is_new(read):
    (told,) = read(
        asked("a", None), entry("b", "a", "brand_new"), entry("c", "b", "usage"), answered("d", "c", "Done.")
    )
    assert told.uncounted == {"brand_new": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (said("b", "a", "critic", "No."), "unknown_item"),
        (said("b", "a", "user", [{"type": "hologram"}]), "unknown_item"),
        (said("b", "a", "user", [{"type": "thinking", "thinking": "Hm."}]), "unknown_item"),
        (said("b", "a", "user", 7), "invalid_field"),
        (entry("b", "a"), "invalid_field"),
        (said("b", "nowhere", "user", "Hi."), "broken_tree"),
        (said("b", "c", "user", "Hi."), "broken_tree"),
        (said("a", "a", "user", "Hi."), "broken_tree"),
    ],
)
def test_what_the_model_saw_and_we_cannot_tell_is_a_reject(read, line, reason):
    (reject,) = read(asked("a", None), line, answered("c", "b", "Done."))
    assert (reject.reason, reject.detail[:11]) == (reason, "s.jsonl:3: ")
    assert "; " in reject.detail, "names the cure"


def test_a_session_without_an_answer_is_a_reject(read):
    assert read(asked("a", None), answered("b", "a", stop="error"))[0].reason == "no_completion"
    assert read()[0].reason == "no_completion"


def test_another_first_line_is_another_format(read):
    (reject,) = read(asked("a", None), head={"type": "session_meta", "payload": {"id": "t1"}})
    assert (reject.reason, reject.detail[:10]) == ("wrong_format", "s.jsonl:1:")


def test_an_answer_that_is_not_what_the_model_wrote_is_named(read: Convert):
    broken = {**call("one", {}), "argumentsError": "Unexpected end of JSON input"}
    (told,) = read(
        asked("a", None),
        answered("b", "a", broken, stop="toolUse"),
        output("c", "b", "one", "no such command"),
        answered("d", "c", "Again.", stop="length"),
        asked("e", "d"),
        answered("f", "e", "Done."),
    )
    assert isinstance(told, Conversation)
    assert [flaw.message for flaw in told.flaws] == [1, 3]
    assert "bash" in told.flaws[0].reason
    assert told.flaws[1].reason == CUT


def test_the_oldest_compactions_name_what_they_kept_by_its_line(read):
    lines = [{**line} for line in (asked("a", None), answered("b", "a", "One."), asked("c", "b", "More?"))]
    compaction = {"type": "compaction", "summary": "Sum.", "firstKeptEntryIndex": 3}
    bare = [{k: v for k, v in line.items() if k not in ("id", "parentId")} for line in lines]
    last = {k: v for k, v in answered("d", "c", "Two.").items() if k not in ("id", "parentId")}
    first, second = read(*bare, compaction, last, head={"type": "session", "id": "s1"})
    assert contents(first) == ["Fix it.", "One.", "More?"]
    assert contents(second)[1:] == ["More?", "Two."]


def test_a_fork_that_copied_its_parent_is_learned_once():
    head, fork = HEAD, {**HEAD, "id": "s2", "parentSession": "/home/me/2026_s1.jsonl"}
    timed = [
        {**line, "timestamp": f"2026-01-01T00:00:0{at}Z"}
        for at, line in enumerate(
            [asked("a", None), answered("b", "a", "One."), asked("c", "b", "More?"), answered("d", "c", "Two.")]
        )
    ]
    sessions = {"s1": [head, *timed[:2]], "s2": [fork, *timed]}
    traces = [
        Trace(
            id=name,
            prompt_id="p",
            prompt="",
            agent="replay",
            format="pi",
            files=(TraceFile(f"{name}.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines)),),
        )
        for name, lines in sessions.items()
    ]
    parent, told = convert(traces)
    assert isinstance(parent, Conversation)
    assert isinstance(told, Conversation)
    assert (parent.flaws, told.flaws) == ((), (Flaw(1, REPEATED),))
    assert (parent.origin.parent, told.origin.parent) == (None, "s1")
    (again,) = list(convert([*traces, *traces]))[2:3]
    assert isinstance(again, Reject)
    assert again.reason == "repeated"


def test_what_came_from_the_cache_is_counted_as_read(read):
    spent = {"input": 5, "cacheRead": 3, "cacheWrite": 2, "output": 4, "reasoning": 1}
    (told,) = read(asked("a", None), answered("b", "a", "Done.", usage=spent))
    assert told.origin.usage == Usage(input=10, cached=3, cache_written=2, output=4, reasoning=1)


def test_a_thought_that_was_kept_back_is_marked(read):
    hidden = {"type": "thinking", "thinking": "", "redacted": True}
    (told,) = read(asked("a", None), answered("b", "a", hidden, "One."))
    assert told.unreadable == (1,)
