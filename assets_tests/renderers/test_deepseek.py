"""What only DeepSeek has: no headers between an assistant's steps, system messages that stand before all others."""

import importlib.util
import json
from collections.abc import Callable
from random import Random

import pytest

from renderers import FAMILIES, Message, Renderer, Request, Stream, TemplateError, ToolCall
from renderers.hub import to_hub
from renderers.messages import Turn
from renderers.template import worded
from renderers.tracing.witness import TracedTemplate

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
    assert worded(FAMILIES[name].template.prompt, Turn(request)) == ""
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
        assert (parsed.message.but(reasoning=None), parsed.exact, parsed.ended) == (STEP, True, True)


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


def test_r1_opens_calls_once_in_a_conversation_and_loses_what_is_said_beside_later_ones(official):
    template = (official("deepseek-v3") / "variants" / "deepseek-r1.jinja").read_text(encoding="utf-8")
    traced = TracedTemplate(template, special_tokens={"bos_token": "<｜begin▁of▁sentence｜>"})
    messages = (USER, STEP, *RESULTS, Message("assistant", "c"), USER, STEP, *RESULTS, STEP, USER)
    stream = tell("deepseek-r1", *messages)
    assert stream.text == traced.tell(Request(messages)).text
    assert stream.text.count("<｜tool▁calls▁begin｜>") == stream.text.count("<｜tool▁outputs▁begin｜>") == 1
    assert {origin for origin in stream.lost if origin[2] == "content"} == {
        ("messages", 6, "content"),
        ("messages", 9, "content"),
    }
    assert stream.trainable == {4}


def test_r1_cuts_an_inline_thought_off_an_answer_to_a_user_alone():
    thought = Message("assistant", "<think>\nr\n</think>c")
    assert tell("deepseek-r1", USER, thought).text.endswith("<｜Assistant｜>c<｜end▁of▁sentence｜>")
    stream = tell("deepseek-r1", USER, STEP, *RESULTS, thought)
    assert stream.text.endswith("<｜tool▁outputs▁end｜><think>\nr\n</think>c<｜end▁of▁sentence｜>")


def test_r1_reads_the_thought_that_its_prompt_opens(vocabulary):
    renderer = Renderer(FAMILIES["deepseek-r1"], vocabulary("deepseek-r1"))
    message = renderer.parse("r\n</think>\n\nc<｜end▁of▁sentence｜>", Request((USER,))).message
    assert (message.reasoning, message.content) == ("r", "c")


def test_v3_2_drops_thoughts_before_the_last_user():
    answer, last = Message("assistant", "b", reasoning="r"), Message("assistant", "c", reasoning="s")
    stream = tell("deepseek-v3.2", USER, answer, USER, last, thinking=True)
    told = "<｜User｜>a<｜Assistant｜></think>b<｜end▁of▁sentence｜><｜User｜>a<｜Assistant｜><think>s</think>c"
    assert stream.text == f"<｜begin▁of▁sentence｜>{told}<｜end▁of▁sentence｜>"
    assert stream.trainable == {3}
    assert stream.lost == (("messages", 1, "reasoning_content"),)


def test_v3_2_tells_a_prompt_that_nobody_answers_closed():
    late = Message("system", "s")
    text = tell("deepseek-v3.2", USER, late, Message("assistant", "b", reasoning="r"), thinking=True).text
    assert text.endswith("<｜User｜>a<｜Assistant｜></think>sb<｜end▁of▁sentence｜>")


def test_v3_2_refuses_a_result_without_a_call():
    with pytest.raises(TemplateError, match=r"message 3: a tool result without a call"):
        tell("deepseek-v3.2", USER, STEP.but(tool_calls=STEP.tool_calls[:1]), *RESULTS)


@pytest.mark.parametrize("arguments", ['{"a": "5", "b": 5, "c": "null", "d": null, "e": {"f": ["</x>"]}}', "{}"])
def test_v3_2_says_what_is_a_string_so_arguments_are_read_back_without_a_schema(vocabulary, arguments):
    renderer = Renderer(FAMILIES["deepseek-v3.2"], vocabulary("deepseek-v3.2"))
    call = Message("assistant", tool_calls=(ToolCall("f", arguments),))
    written = tell("deepseek-v3.2", USER, call).text.partition("</think>")[2]
    parsed = renderer.parse(written, Request((USER,)))
    assert (parsed.message, parsed.ended) == (call, True)


@pytest.fixture(scope="module")
def encoder(official) -> Callable[..., str]:
    """DeepSeek's own `encode_messages`, as the reference keeps it."""
    path = official("deepseek-v3.2") / "reference_encoding_dsv32.py"
    if not path.is_file():
        pytest.skip("the encoder is in the reference folder alone")
    spec = importlib.util.spec_from_file_location("encoding_dsv32", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.encode_messages


def generated(random: Random) -> tuple[Message, ...]:
    """A conversation in which the assistant speaks only where it is asked."""

    def said() -> str:
        return "".join(random.choices(("", "a", " b\n", "<think>", "</think>", "é😀", "{content}"), k=2))

    def called() -> ToolCall:
        values = {key: random.choice(("x", "5", 5, None, True, [1, "a"], {"k": {}})) for key in random.sample("abc", 2)}
        return ToolCall(random.choice("fg"), json.dumps(values if random.random() < 0.8 else {}), "i")

    messages = [Message("system", said())] * random.choice((0, 1))
    for _ in range(random.randint(1, 3)):
        messages.append(Message("user", said()))
        for _ in range(random.choice((0, 1, 2))):
            calls = tuple(called() for _ in range(random.randint(1, 3)))
            messages.append(Message("assistant", said(), random.choice((None, said())), calls))
            messages += [Message("tool", said(), tool_call_id="i") for _ in calls]
        messages += [Message("assistant", said(), "r" + said())] * random.choice((0, 1, 1))
    return tuple(messages)


@pytest.mark.parametrize("thinking", [False, True])
def test_v3_2_tells_what_its_encoder_writes(encoder, examples, thinking):
    random = Random(32)
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    for _ in range(4 * examples):
        messages, tools = generated(random), random.choice(((), (tool,)))
        hub = to_hub(messages)
        if tools:
            hub = hub if hub[0]["role"] == "system" else [{"role": "system", "content": ""}, *hub]
            hub[0]["tools"] = list(tools)
        request = Request(messages, tools, {"thinking": thinking}, messages[-1].role != "assistant")
        assert FAMILIES["deepseek-v3.2"].tell(request).text == encoder(hub, "thinking" if thinking else "chat")
