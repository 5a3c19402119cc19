"""What only Qwen3 has, and streams as they were reviewed."""

import pytest

from renderers import FAMILIES, Kind, Message, Request, TemplateError, ToolCall
from renderers.messages import Part


def test_the_stream_is_as_it_was_reviewed(conversation, request_of, reviewed):
    reviewed("qwen3", conversation, FAMILIES["qwen3"].tell(request_of(conversation, generating=True)))


def tell(*messages: Message, **flags: object) -> str:
    return FAMILIES["qwen3"].tell(Request(messages, flags=flags)).text


def test_inline_reasoning_moves_to_its_place():
    stream = FAMILIES["qwen3"].tell(Request((Message("user", "?"), Message("assistant", "<think>\na\n</think>\n\nb"))))
    shown = [(s.kind, s.text, s.origin) for s in stream.segments if not s.literal and s.message == 1]
    origin = ("messages", 1, "content")
    assert shown == [(Kind.REASONING, "a", origin), (Kind.ANSWER, "b", origin)]
    assert not stream.lost


def test_a_reasoning_field_leaves_inline_reasoning_alone():
    stream = FAMILIES["qwen3"].tell(Request((Message("user", "?"), Message("assistant", "a</think>b", reasoning=""))))
    assert "<think>\n\n</think>\n\na</think>b<|im_end|>" in stream.text


def test_reasoning_before_the_last_query_is_lost_and_said_to_be():
    messages = (Message("user", "a"), Message("assistant", "b", reasoning="c"), Message("user", "d"))
    assert FAMILIES["qwen3"].tell(Request(messages)).lost == (("messages", 1, "reasoning_content"),)


def test_a_tool_result_in_a_users_clothes_is_no_query():
    thought = Message("assistant", "b", reasoning="c")
    dressed = Message("user", "<tool_response>x</tool_response>")
    assert "<think>\nc\n</think>" in tell(Message("user", "a"), thought, dressed)
    assert "<think>" not in tell(Message("user", "a"), thought, Message("user", "x"))


def test_arguments_are_written_byte_for_byte():
    spelled = '{"b":1,  "a": "\\u00e9", "a": 2'
    assert spelled in tell(Message("user", "?"), Message("assistant", tool_calls=(ToolCall("f", spelled),)))


def test_without_thinking_the_prompt_holds_the_empty_thought_as_scaffold():
    messages = (Message("user", "?"), Message("assistant", "b"))
    thinking, not_thinking = (
        FAMILIES["qwen3"].tell(Request(messages, flags={"enable_thinking": value})) for value in (True, False)
    )
    assert thinking.text == not_thinking.text
    assert any(s.kind is Kind.REASONING for s in thinking.segments)
    assert not any(s.kind is Kind.REASONING for s in not_thinking.segments)
    assert not_thinking.trainable == {1}


def test_media_are_refused():
    message = Message("user", (Part("text", "?"), Part("image")))
    with pytest.raises(TemplateError, match="image"):
        FAMILIES["qwen3"].tell(Request((message,)))
