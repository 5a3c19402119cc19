"""What only Gemma 4 has: a value syntax, and turns that go on behind tool results."""

import json

import pytest

from renderers import FAMILIES, Kind, Message, Part, Request, Stream, TemplateError, ToolCall, Verdict, create_renderer
from renderers.families.gemma_values import GemmaCall, Reader, segments, value

USER, ANSWER = Message("user", "u"), Message("assistant", "a")
CALL = Message("assistant", tool_calls=(ToolCall("f", '{"b": [1, null], "A": "x"}', "1"),))
RESULT = Message("tool", "t", tool_call_id="1")
CALLED = '<bos><|turn>user\nu<turn|>\n<|turn>model\n<|tool_call>call:f{A:<|"|>x<|"|>,b:[1,null]}<tool_call|>'
RETURNED = CALLED + '<|tool_response>response:f{value:<|"|>t<|"|>}<tool_response|>'
TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {
                "list": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
                },
                "Any": {"type": "object", "x": {"type": "string", "enum": ["a", 1]}, "nullable": True},
                "both": {"type": ["string", "null"], "description": "<turn|>"},
                "open": {"type": "object", "properties": {}, "required": ["y"]},
            },
        },
        "response": {"type": "object", "description": "r"},
    },
}


def tell(*messages: Message, tools: tuple = (), **flags: object) -> Stream:
    return FAMILIES["gemma-4"].tell(Request(messages, tools, flags))


def test_the_answer_goes_on_behind_the_results_in_the_callers_turn():
    assert tell(USER, CALL).text == CALLED + "<|tool_response>"
    assert tell(USER, CALL, RESULT).text == RETURNED
    stream = tell(USER, CALL, RESULT, ANSWER, USER)
    assert stream.text == RETURNED + "a<turn|>\n<|turn>user\nu<turn|>\n"
    assert stream.trainable == {1, 3}


def test_the_stop_of_calls_is_trained_and_that_of_results_is_not():
    stream = tell(USER, CALL, RESULT, RESULT, ANSWER)
    opened = [(s.text, s.kind) for s in stream.segments if s.text == "<|tool_response>"]
    assert opened == [("<|tool_response>", Kind.STOP), ("<|tool_response>", Kind.SCAFFOLD)]


def test_what_is_said_beside_calls_moves_behind_their_results_and_is_not_proved():
    assert tell(USER, CALL.but(content=" c ")).text == CALLED + "c<|tool_response>"
    stream = tell(USER, CALL.but(content=" c "), RESULT, ANSWER)
    assert stream.text == RETURNED + "ca<turn|>\n"
    assert stream.proofs[0].verdict is Verdict.TURN_REWRITTEN
    assert tell(USER, CALL.but(content="c"), RESULT).text == RETURNED + "c<turn|>\n"


def test_a_result_is_named_by_its_call_else_by_itself_else_unknown():
    told = [tell(USER, CALL, Message("tool", "t", tool_call_id=known, name=name)).text for known, name in NAMES]
    assert [text.partition("response:")[2].partition("{")[0] for text in told] == ["f", "g", "unknown"]


NAMES = [("1", "g"), ("2", "g"), ("2", None)]


def test_a_result_without_a_call_is_refused():
    with pytest.raises(TemplateError, match=r"message 2: a tool result without a call"):
        tell(USER, ANSWER, RESULT)


def test_assistant_messages_in_a_row_are_one_turn():
    stream = tell(USER, ANSWER, ANSWER)
    assert stream.text == "<bos><|turn>user\nu<turn|>\n<|turn>model\naa<turn|>\n"
    assert stream.proofs[0].verdict is Verdict.TURN_REWRITTEN


def test_a_thought_in_history_is_kept_beside_calls_on_request():
    thought = CALL.but(reasoning="r")
    assert "thought\nr" not in tell(USER, thought, RESULT, ANSWER, USER, ANSWER).text
    assert "thought\nr" in tell(USER, thought, RESULT, ANSWER, USER, ANSWER, preserve_thinking=True).text


def test_an_inline_thought_is_dropped():
    assert tell(USER, Message("assistant", "x<|channel>thought\nr\n<channel|> y")).text.endswith("model\nx y<turn|>\n")


def test_system_parts_are_told_as_their_joined_text():
    parts = (Part("text", " a "), Part("text", "b"))
    assert tell(Message("system", parts), USER).text.startswith("<bos><|turn>system\nab<turn|>\n")


def test_a_declaration_is_told_as_upstream_tells_it(traced):
    asked = [{"role": "user", "content": "u"}]
    bare = {"function": {"name": "g", "description": "", "parameters": {"properties": {}, "required": ["z"]}}}
    for tool in (TOOL, bare, {"function": {"name": "h", "description": "h"}}):
        stream = tell(USER, tools=(tool,))
        assert stream.text == traced("gemma-4").text_hub(asked, [tool])
        assert not stream.lost
    assert all(s.literal == (s.text != "<turn|>") for s in tell(USER, tools=(TOOL,)).segments if "<turn|>" in s.text)


@pytest.mark.parametrize(
    "arguments", [{}, {"a": {"b": [{}, [], "", "]},", True, None, -1.5]}, "c": 'say "x"', "d": {"e": "{}"}}]
)
def test_values_are_read_back(arguments):
    written = "".join(s.text for s in segments(value(arguments), Kind.TOOL_CALL, 0, ()))
    assert Reader(written, '<|"|>').value() == arguments


@pytest.mark.parametrize("text", ["{", "{a", "{a:", "{a:1", '{a:<|"|>x', "{a:x}", "{a:1 b:2}", "{a:[1}", "{a:{b:1}"])
def test_what_is_no_value_is_no_call(text):
    assert GemmaCall().read(f"<|tool_call>call:f{text}<tool_call|>", {}) is None


def test_content_is_read_on_either_side_of_calls(load):
    renderer = create_renderer(load("gemma-4"), "gemma-4")
    call = '<|tool_call>call:f{A:<|"|>x<|"|>}<tool_call|>'
    for said in (f"one {call}two", f"one two{call}"):
        parsed = renderer.parse(said + "<|tool_response>", Request((USER,)))
        assert (parsed.message.content, parsed.ended, len(parsed.calls)) == ("one two", True, 1)
        assert json.loads(parsed.message.tool_calls[0].arguments) == {"A": "x"}


def test_a_header_that_history_lacks_is_not_looked_for_in_data(official_template):
    """Behind an answered call the mark of the model is missing: what data begins with is no part of it."""
    spoken = CALL.but(content="b")
    stream = official_template("gemma-4").tell(
        Request((USER, spoken, RESULT, Message("assistant", "<|user|>c"), Message("user", "v")))
    )
    assert [s.text for s in stream.segments if s.message == 3 and not s.literal] == ["<|user|>c"]
