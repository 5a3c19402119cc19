"""What was said is looked for in the stored ids."""

import json
from collections.abc import Callable

import msgspec
import pytest

from pipeline.auditing.case import Case
from pipeline.auditing.fields import Field, fields, holds
from pipeline.auditing.lost import lost
from pipeline.auditing.tools import tools
from pipeline.records import Conversation
from renderers.messages import Message, Part, ToolCall
from renderers.segments import Kind, Segment

Make = Callable[..., Case]
Tell = Callable[[Conversation], list[Segment]]
NESTED = '{"path":"a/b","lines":[1,2.5,null,true],"text":"zwölf \\"x\\"\\n"}'


def without(told: list[Segment], kind: Kind, message: int) -> list[Segment]:
    return [s for s in told if not (s.kind is kind and s.message == message and not s.literal)]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Kind.ANSWER, "content"),
        (Kind.REASONING, "reasoning"),
        (Kind.TOOL_CALL, "tool_calls/0/name, tool_calls/0/arguments"),
    ],
)
def test_a_field_of_a_trained_turn_that_is_not_told_is_an_error(
    case: Make, conversation: Conversation, segments: Tell, kind: Kind, path: str
):
    found = list(lost(case(segments=without(segments(conversation), kind, 2))))
    assert [(r.severity, r.message) for r in found] == [("error", 2)] * len(found)
    assert ", ".join(r.detail.split(" of ")[0] for r in found) == path


def test_a_field_of_a_turn_that_is_not_trained_is_a_warning(case: Make, conversation: Conversation, segments: Tell):
    told = without(segments(conversation), Kind.REASONING, 2)
    (remark,) = lost(case(segments=told, trainable=(4,), rendered={"lost": ("messages/2/reasoning",)}))
    assert remark == ("warning", "reasoning of message 2 is not in the text", 2)


def test_a_loss_that_the_renderer_did_not_report_is_told(case: Make, conversation: Conversation, segments: Tell):
    (remark,) = lost(case(segments=without(segments(conversation), Kind.REASONING, 2), trainable=(4,)))
    assert remark.detail.endswith("the renderer did not report message 2")


@pytest.mark.parametrize(("kind", "message"), [(Kind.SYSTEM, 0), (Kind.USER, 1), (Kind.TOOL_RESULT, 3)])
def test_what_the_model_should_have_been_told_and_was_not_is_an_error(
    case: Make, conversation: Conversation, segments: Tell, kind: Kind, message: int
):
    (remark,) = lost(case(segments=without(segments(conversation), kind, message)))
    assert (remark.severity, remark.message) == ("error", message)


def test_tools_that_are_not_told_are_an_error(case: Make, conversation: Conversation, segments: Tell):
    (remark,) = lost(case(segments=[s for s in segments(conversation) if s.kind is not Kind.TOOLS]))
    assert remark == ("error", "1 of 1 tool specs (run_tests) are not in the text", -1)


def test_tools_told_by_name_only_are_worth_knowing(case: Make, conversation: Conversation, segments: Tell):
    named = [Segment("run_tests", s.kind) if s.kind is Kind.TOOLS else s for s in segments(conversation)]
    (remark,) = lost(case(segments=named))
    assert remark == ("warning", "1 of 1 tool specs (run_tests) are told in part", -1)


def test_a_trained_turn_of_which_the_renderer_lost_something_is_an_error(case: Make):
    (remark,) = lost(case(rendered={"lost": ("messages/2/reasoning", "messages/20/content", "tools/0")}))
    assert (remark.severity, remark.message) == ("error", 2)


@pytest.mark.parametrize(
    "text",
    [
        NESTED,
        json.dumps(json.loads(NESTED), indent=2),
        json.dumps(json.loads(NESTED), ensure_ascii=False),
        json.dumps({"name": "x", "arguments": NESTED}),
        '<path>a/b</path><lines>[1, 2.5, null, true]</lines><text>zwölf "x"\n</text>',
        "path='a/b', lines=[1, 2.5, None, True], text='zwölf \"x\"\\n'",
    ],
    ids=["verbatim", "indented", "respaced", "as a string", "key by key", "as Python"],
)
def test_arguments_are_found_however_a_template_spells_them(text: str):
    assert holds(f"before {text} after", Field("arguments", NESTED))


@pytest.mark.parametrize(
    "text",
    [
        "",
        NESTED.replace("2.5", "3.5"),
        NESTED.replace('"path"', '"p"'),
        NESTED.replace("zwölf", "elf"),
    ],
)
def test_arguments_that_differ_are_not_found(text: str):
    assert not holds(f"before {text} after", Field("arguments", NESTED))


def test_ends_may_be_trimmed_and_nothing_else():
    assert holds("<user>two  words</user>", Field("content", "\n two  words \t"))
    assert not holds("<user>two words</user>", Field("content", "two  words"))


def test_the_second_of_two_equal_calls_is_missed():
    twice = Message("assistant", tool_calls=(ToolCall("ls", "{}"), ToolCall("ls", "{}")))
    assert [field for field in fields(twice) if not holds("ls {}", field)] == [
        Field("tool_calls/1/name", "ls", times=2)
    ]


def test_parts_are_fields_of_their_own():
    message = Message("user", (Part("text", "look"), Part("image"), Part("text", "here")))
    assert [f.path for f in fields(message) if not holds("look", f)] == ["content/2/text"]


@pytest.mark.parametrize(
    "hostile", ["[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "\x00\u2028\ud7ff", "{}", "[1e400]"]
)
def test_hostile_arguments_are_looked_for_without_harm(hostile: str):
    assert not holds("nothing of it", Field("arguments", hostile)) or hostile == "{}"
    assert holds(f"all of it: {hostile}", Field("arguments", hostile))


def test_a_trace_that_does_not_say_which_tools_were_offered_is_worth_knowing(case: Make, conversation: Conversation):
    silent = msgspec.structs.replace(conversation, tools=(), tools_recorded=False)
    (remark,) = tools(case(silent))
    assert remark.severity == "warning"
    assert "does not say which were offered" in remark.detail


def test_a_call_to_a_tool_that_was_not_offered_is_worth_knowing(case: Make, conversation: Conversation):
    (remark,) = tools(case(msgspec.structs.replace(conversation, tools=())))
    assert remark == ("warning", "'run_tests' is called, but was not offered", 2)


def test_a_tool_spec_of_any_shape_is_read(case: Make, conversation: Conversation):
    odd = ({"name": "bare"}, {"function": None}, {"function": {"name": "x", "parameters": {"properties": "none"}}}, {})
    assert list(tools(case(msgspec.structs.replace(conversation, tools=odd))))
    assert [r for r in lost(case(msgspec.structs.replace(conversation, tools=odd))) if r.severity == "error"] == []
