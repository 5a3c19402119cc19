"""What only DeepSeek has: no headers between an assistant's steps, system messages that stand before all others."""

import pytest

from renderers import FAMILIES, Message, Renderer, Request, Stream, TemplateError, ToolCall
from renderers.messages import Turn

USER = Message("user", "a")
STEP = Message("assistant", "b", tool_calls=(ToolCall("f", '{"a":  1}'), ToolCall("g", "{}")))
RESULTS = (Message("tool", "s"), Message("tool", "t"))
CALLS = (
    "<｜tool▁calls▁begin｜>"
    '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a":  1}<｜tool▁call▁end｜>'
    "<｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
    "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
)


def tell(name: str, *messages: Message, **flags: object) -> Stream:
    return FAMILIES[name].tell(Request(messages, flags=flags))


@pytest.mark.parametrize("name", ["deepseek-v3", "deepseek-v3.1"])
def test_system_messages_stand_first_or_are_refused(name):
    first, second = Message("system", "s"), Message("system", "t")
    assert tell(name, first, Message("developer", "d"), second, USER).text == "<｜begin▁of▁sentence｜>s\n\nt<｜User｜>a"
    with pytest.raises(TemplateError, match=r"message 1: .*before all others"):
        tell(name, USER, second)


def test_v3_loses_calls_and_reasoning_and_says_so():
    stream = tell("deepseek-v3", USER, STEP.but(reasoning="r"))
    assert stream.text.endswith("<｜Assistant｜>b<｜end▁of▁sentence｜>")
    assert {origin[2] for origin in stream.lost} == {"reasoning_content", "tool_calls"}
    assert not stream.trainable


def test_v3_opens_outputs_once_in_a_conversation_and_closes_them_where_the_assistant_goes_on():
    text = tell("deepseek-v3", USER, *RESULTS, Message("assistant", "c"), Message("tool", "u"), USER).text
    one, two, three = (f"<｜tool▁output▁begin｜>{said}<｜tool▁output▁end｜>" for said in "stu")
    assert (
        f"a<｜tool▁outputs▁begin｜>{one}\n{two}<｜tool▁outputs▁end｜>c<｜end▁of▁sentence｜>\n{three}<｜User｜>" in text
    )


@pytest.mark.parametrize("name", ["deepseek-v3", "deepseek-v3.1"])
def test_the_assistant_goes_on_after_a_result_without_a_prompt(name):
    request = Request((USER, *RESULTS))
    assert FAMILIES[name].template.prompt(Turn(request)) == ""
    assert tell(name, *request.messages, Message("assistant", "c")).trainable == {3}


def test_v3_1_marks_the_assistant_only_where_it_answers_a_user():
    stream = tell("deepseek-v3.1", USER, STEP, *RESULTS, STEP, *RESULTS, Message("assistant", "c"))
    outputs = "".join(f"<｜tool▁output▁begin｜>{said}<｜tool▁output▁end｜>" for said in "st")
    told = f"<｜User｜>a<｜Assistant｜><think></think>b{CALLS}{outputs}b{CALLS}{outputs}c<｜end▁of▁sentence｜>"
    assert stream.text == f"<｜begin▁of▁sentence｜>{told}"
    assert stream.trainable == {1, 4, 7}
    assert stream.lost == ()


def test_v3_1_reads_back_what_it_writes(example):
    renderer = Renderer(FAMILIES["deepseek-v3.1"], example)
    for before in ((USER,), (USER, STEP, *RESULTS)):
        parsed = renderer.parse(f"b{CALLS}", Request(before))
        assert (parsed.message.but(reasoning=None), parsed.broken, parsed.ended) == (STEP, (), True)


def test_v3_1_reads_the_thought_that_its_prompt_opens(example):
    renderer = Renderer(FAMILIES["deepseek-v3.1"], example, {"thinking": True})
    parsed = renderer.parse("r</think>b<｜end▁of▁sentence｜>", Request((USER,)))
    assert (parsed.message.reasoning, parsed.message.content) == ("r", "b")


def test_v3_1_cuts_an_inline_thought_off_an_answer_to_a_user():
    thought = Message("assistant", "<think>r</think>b")
    assert tell("deepseek-v3.1", USER, thought).text.endswith("<think></think>b<｜end▁of▁sentence｜>")
    assert tell("deepseek-v3.1", USER, *RESULTS, thought).text.endswith("<think>r</think>b<｜end▁of▁sentence｜>")
    assert tell("deepseek-v3.1", USER, STEP, thought).text.endswith("<think>r</think>b<｜end▁of▁sentence｜>")


def test_v3_1_writes_arguments_byte_for_byte():
    spelled = '{"b":1,  "a": "\\u00e9", "a": 2'
    assert spelled in tell("deepseek-v3.1", USER, Message("assistant", tool_calls=(ToolCall("f", spelled),))).text
