"""What a session file tells is checked against what the recorder saw the model being sent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.converting import convert
from pipeline.gathering import session_of
from pipeline.records import Conversation, Exchange, Flaw, Trace, TraceFile
from renderers.messages import Message, text

TOOL = {"type": "function", "name": "sh", "parameters": {"type": "object"}}
ROLES = {"a": "assistant", "u": "user", "d": "developer"}


def item(letter: str, text: str) -> dict[str, Any]:
    kind = "output_text" if letter == "a" else "input_text"
    return {"type": "message", "role": ROLES[letter], "content": [{"type": kind, "text": text}]}


CALL = {"type": "function_call", "name": "sh", "arguments": '{"a": 1}', "call_id": "c"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "ok"}
SAID = (item("u", "Fix it."), item("a", "Looking."), CALL, RESULT, item("a", "Done."))


def session(*items: dict[str, Any], **meta: Any) -> TraceFile:
    lines: list[Any] = [{"type": "session_meta", "payload": {"id": "t", **meta}}]
    lines += [{"type": "response_item", "payload": one} for one in items]
    return TraceFile("s.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def asked(*items: dict[str, Any], status: int = 200, **body: Any) -> Exchange:
    request = json.dumps({"input": list(items), **body}).encode()
    return Exchange(api="responses", request=request, answer=b"{}", status=status)


@pytest.fixture
def checked() -> Callable[..., Conversation]:
    def run(file: TraceFile, *exchanges: Exchange) -> Conversation:
        trace = Trace(
            id="t", prompt_id="p", prompt="", agent="codex", format="codex", files=(file,), exchanges=exchanges
        )
        (row,) = convert([trace])
        assert isinstance(row, Conversation)
        return row

    return run


def test_without_a_recorder_nothing_is_claimed(checked):
    assert checked(session(*SAID)).checked == "unrecorded"


def test_the_last_request_verifies_and_brings_the_true_prompt_and_tools(checked):
    base = {"text": "As recorded."}
    told = checked(
        session(*SAID, base_instructions=base),
        asked(item("d", "As sent."), *SAID[:1], tools=[TOOL]),
        asked(item("d", "As sent."), *SAID[:4], tools=[TOOL]),
    )
    assert told.checked == "verified"
    assert told.messages[0] == Message("system", "As sent.")
    assert [message.role[0] for message in told.messages] == list("suata")
    assert [tool["function"]["name"] for tool in told.tools] == ["sh"]
    assert told.tools_recorded


def test_a_prompt_that_the_file_does_not_have_moves_what_points_at_messages(checked):
    search = {"type": "web_search_call"}
    told = checked(session(SAID[0], search, *SAID[1:]), asked(*SAID[:1], search, *SAID[1:4], instructions="As sent."))
    assert told.checked == "verified"
    assert told.messages[0] == Message("system", "As sent.")
    assert [flaw.message for flaw in told.flaws] == [2]
    assert told.messages[2].content == "Looking."
    assert len(told.places) == len(told.messages)
    assert isinstance(told.flaws[0], Flaw)


@pytest.mark.parametrize(
    ("request_items", "where"),
    [
        ((item("u", "Other."), *SAID[1:4]), "messages/0"),
        ((SAID[0], item("a", "Looking!"), *SAID[2:4]), "messages/1"),
        ((*SAID[:2], {**CALL, "arguments": '{"a": 2}'}, RESULT), "messages/1"),
        ((*SAID[:3], {**RESULT, "output": "no"}), "messages/2"),
        ((*SAID[:4], item("u", "Hurry.")), "messages/3"),
        (SAID[:1], "messages/1"),
        ((*SAID, item("u", "More.")), "after messages/3"),
    ],
)
def test_a_difference_is_named_by_its_message(checked, request_items, where):
    told = checked(session(*SAID), asked(*request_items, tools=[TOOL]))
    assert told.checked == f"differs: {where} from request 1"
    assert told.tools == ()


def test_what_was_refused_or_cannot_be_read_is_no_request(checked):
    broken = Exchange(api="chat", request=b'{"messages": 7}', answer=b"", status=200)
    good = asked(*SAID[:4])
    assert checked(session(*SAID), good, asked(item("u", "x"), status=429), broken).checked == "verified"
    assert checked(session(*SAID), broken).checked.startswith("differs")


def test_arguments_may_be_spelled_again(checked):
    spelled = {**CALL, "arguments": '{"a":1}'}
    assert checked(session(*SAID), asked(*SAID[:2], spelled, RESULT)).checked == "verified"


def exchanges(case: Path) -> tuple[Exchange, ...]:
    found = []
    for path in sorted(case.glob("requests/*.request.json")):
        sent = json.loads(path.read_bytes())
        answered = json.loads(path.with_name(path.name.replace("request", "response")).read_bytes())
        api = "responses" if "input" in sent["body"] else "chat"
        body = json.dumps(sent["body"]).encode()
        found.append(Exchange(api=api, request=body, answer=b"{}", status=answered["status"]))
    return tuple(found)


def traces(case: Path, seen: tuple[Exchange, ...]) -> list[Trace]:
    files = sorted(case.glob("session/*.jsonl"))
    return [msgspec.structs.replace(session_of(path, files, case.parent.name), exchanges=seen) for path in files]


def test_every_recorded_session_is_verified_and_a_tampered_one_is_not(shared: Path):
    cases = sorted(path.parent for path in shared.glob("traces/*/*/ground_truth.json"))
    for case in cases:
        seen = exchanges(case)
        rows = list(convert(traces(case, seen)))
        assert {getattr(row, "checked", row) for row in rows} == {"verified"}, case
        assert all(row.tools_recorded and row.messages[0].role == "system" for row in rows)
        lies = tuple(
            msgspec.structs.replace(one, request=one.request.replace(b'"role": "user"', b'"role": "system"', 1))
            for one in seen
        )
        told = [row.checked for row in convert(traces(case, lies)) if isinstance(row, Conversation)]
        assert all(one.startswith("differs: ") for one in told), (case, told)


BASH = {"type": "tool_use", "id": "c", "name": "Bash", "input": {"b": 1, "a": 2}}
OK = {"type": "tool_result", "tool_use_id": "c", "content": "ok"}
REMINDED = {"type": "text", "text": "<system-reminder>\nBe brief.\n</system-reminder>"}
FIX = {"type": "text", "text": "Fix it.", "cache_control": {"type": "ephemeral"}}
OFFERED = [
    {"name": "Bash", "description": "d", "input_schema": {"type": "object"}},
    {"type": "web_search", "name": "w"},
]


def spoken(*messages: tuple[str, Any]) -> Exchange:
    told = [{"role": role, "content": content} for role, content in messages]
    system = [{"type": "text", "text": "As "}, {"type": "text", "text": "sent."}]
    request = json.dumps({"model": "m", "system": system, "messages": told, "tools": OFFERED}).encode()
    return Exchange(api="messages", request=request, answer=b"{}", status=200)


@pytest.fixture
def claude() -> Callable[..., Conversation]:
    """A session of Claude Code: asked, looked, done, asked again, said no more; and what the recorder saw."""

    def run(*exchanges: Exchange) -> Conversation:
        says = [
            ("user", "Fix it."),
            ("assistant", [BASH]),
            ("user", [OK]),
            ("assistant", [{"type": "text", "text": "D."}]),
        ]
        says += [("user", "And?"), ("assistant", [{"type": "text", "text": "No"}])]
        lines = []
        for number, (role, content) in enumerate(says):
            message = {"role": role, "content": content, "id": f"m{number}", "stop_reason": "max_tokens"}
            at = {"uuid": str(number), "parentUuid": str(number - 1) if number else None, "sessionId": "s"}
            lines.append(json.dumps({"type": role, **at, "message": message}).encode() + b"\n")
        file = TraceFile("s.jsonl", b"".join(lines))
        trace = Trace(id="t", prompt_id="p", prompt="", agent="claude-code", format="claude-code", files=(file,))
        (row,) = convert([msgspec.structs.replace(trace, exchanges=exchanges)])
        assert isinstance(row, Conversation)
        return row

    return run


@pytest.mark.parametrize("between", [False, True])
def test_reminders_that_the_file_does_not_have_are_told_as_they_were_sent(claude, between):
    first = [("user", [FIX]), ("system", "Be brief.")] if between else [("user", [REMINDED, FIX])]
    done = ("assistant", [{"type": "text", "text": "D."}])
    told = claude(
        spoken(*first, ("assistant", [BASH]), ("user", [OK, REMINDED]), done, ("user", [REMINDED]), ("user", "And?"))
    )
    assert told.checked == "verified"
    roles = [message.role for message in told.messages]
    start = ["system", "user", "system"] if between else ["system", "user"]
    assert roles == [*start, "assistant", "tool", "user", "assistant", "user", "user", "assistant"]
    assert told.messages[0].content == "As sent."
    assert text(told.messages[-3].content) == REMINDED["text"] == text(told.messages[-5].content)
    assert text(told.messages[1].content) == ("Fix it." if between else f"{REMINDED['text']}Fix it.")
    assert [flaw.message for flaw in told.flaws] == [at for at, role in enumerate(roles) if role == "assistant"]
    assert [place.file for place in told.places].count("request 1") == (4 if between else 3)
    assert [tool["function"]["name"] for tool in told.tools] == ["Bash"]


def test_what_differs_beside_reminders_is_no_verified_conversation(claude):
    told = claude(spoken(("user", [REMINDED, {"type": "text", "text": "Break it."}])))
    assert told.checked == "differs: messages/0 from request 1"
    assert [message.role for message in told.messages][:2] == ["user", "assistant"]


@pytest.mark.parametrize("content", [None, [{"type": "new"}], [{"type": "tool_result", "content": 3}], 3])
def test_a_request_of_messages_that_says_nothing_readable_verifies_nothing(claude, content):
    assert claude(spoken(("user", content))).checked.startswith("differs")
