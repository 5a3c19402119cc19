"""What only SmolLM3 has: a reasoning mode that the system message may set, and a date."""

from datetime import date

import pytest

from renderers import FAMILIES, Kind, Message, Request, Stream, TemplateError, Verdict, create_renderer

USER, ANSWER = Message("user", "a"), Message("assistant", "b")


def tell(*messages: Message, **flags: object) -> Stream:
    return FAMILIES["smollm3"].tell(Request(messages, flags={"today": date(2025, 7, 1), **flags}))


def test_the_date_is_given_and_never_asked_of_the_clock():
    assert "Today Date: 01 July 2025\n" in tell(USER).text
    with pytest.raises(TemplateError, match="today"):
        FAMILIES["smollm3"].tell(Request((USER,)))


@pytest.mark.parametrize(
    ("system", "flag", "thinks"),
    [("", True, True), ("", False, False), ("/no_think", True, False), ("/think", False, True)],
)
def test_the_system_messages_mode_comes_before_the_flags(system, flag, thinks):
    stream = tell(Message("system", f"Be brief. {system}"), USER, ANSWER, enable_thinking=flag)
    assert (
        f"Reasoning Mode: {'/think' if thinks else '/no_think'}\n\n## Custom Instructions\n\nBe brief.\n\n"
        in stream.text
    )
    assert ("<think>\n\n</think>\nb" in stream.text) is not thinks
    assert not any(segment.kind is Kind.REASONING for segment in stream.segments)
    assert stream.trainable == {2}


def test_a_system_override_is_all_of_the_system_turn():
    stream = FAMILIES["smollm3"].tell(Request((Message("system", "Be brief. /system_override"), USER)))
    assert stream.text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n"


def test_only_tools_of_its_own_flags_are_told_and_end_the_system_turn():
    stream = tell(USER, xml_tools=[{"name": "f"}], python_tools=["def g(): ..."])
    assert "<tools>\n{'name': 'f'}\n</tools>\n\nFor each function call" in stream.text
    assert "<tools>\ndef g(): ...\n</tools>\n\nThe state persists" in stream.text
    assert "thereafter.\n\n<|im_end|>\n<|im_start|>user" in stream.text
    assert "<|im_end|>" not in tell(USER).text.partition("<|im_start|>user")[0]


def test_reasoning_is_lost_unless_it_is_written_in_the_content():
    stream = tell(USER, ANSWER.but(reasoning="r"))
    assert (stream.lost, stream.trainable) == ((("messages", 1, "reasoning_content"),), frozenset())
    inline = tell(USER, Message("assistant", "<think>\nr\n</think>\nb"))
    assert inline.proofs[0].verdict is Verdict.PROVED
    assert inline.trainable == {1}


LOOK = {"name": "look", "arguments": "{}"}
CALL = 'I look.\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'


def test_a_call_that_the_model_writes_is_content_because_history_tells_nothing_else(official):
    flags = {"today": date(2025, 7, 1), "xml_tools": [{"name": "look"}]}
    renderer, asked = create_renderer(official("smollm3"), **flags), [{"role": "user", "content": "a"}]
    prompt = renderer.render_ids(asked, add_generation_prompt=True)
    (sampled,) = renderer.tokenizer.encode_batch([CALL + "<|im_end|>"], added=True)
    parsed = renderer.parse_response(sampled, prompt_ids=prompt)
    assert (parsed.content, parsed.tool_calls) == (CALL, [])
    told = [*asked, {"role": "assistant", "content": parsed.content}, {"role": "tool", "content": "a cat"}]
    assert renderer.tokenizer.decode(renderer.render_ids(told)).count(CALL) == 1
    as_call = [*asked, {"role": "assistant", "content": "I look.", "tool_calls": [{"function": LOOK}]}]
    assert "look" not in renderer.tokenizer.decode(renderer.render_ids(as_call)).partition("I look.")[2]
