"""What only Kimi has: names in headers, calls known by their ids, thoughts that an answer loses."""

import pytest

from renderers import FAMILIES, Kind, Message, Renderer, Request, Stream, ToolCall, Verdict

NAMES = ("kimi-k2", "kimi-k2-thinking", "kimi-k2.5", "kimi-k2.6")
USER = Message("user", "?")
CALL = ToolCall("f", '{"a":  1}', "functions.f:0")
STEP = Message("assistant", "b", "r", (CALL,))
RESULT = Message("tool", "t", tool_call_id="functions.f:0")


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


def tell(name: str, *messages: Message, tools: tuple = (), **flags: object) -> Stream:
    return FAMILIES[name].tell(Request(messages, tools, flags))


def test_a_speaker_has_a_header_of_its_own_name_but_for_the_assistant(name):
    text = tell(name, Message("user", "a", name="Bob"), Message("assistant", "b", name="Ann")).text
    assert "<|im_user|>Bob<|im_middle|>a<|im_end|>" in text
    assert "<|im_assistant|>assistant<|im_middle|>" in text
    assert "Ann" not in text


def test_a_call_whose_id_names_its_function_loses_nothing(name):
    stream = tell(name, USER, STEP.but(reasoning=None), RESULT)
    call = '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a":  1}<|tool_call_end|>'
    assert f"b<|tool_calls_section_begin|>{call}<|tool_calls_section_end|><|im_end|>" in stream.text
    assert "<|im_system|>tool<|im_middle|>## Return of functions.f:0\nt<|im_end|>" in stream.text
    assert stream.lost == ()
    assert stream.trainable == {1}


@pytest.mark.parametrize("known", [None, "call_1", "functions.g:0", "functions.f", "functions.f:x"])
def test_a_call_whose_id_names_something_else_loses_its_name_and_its_turn(name, known):
    stream = tell(name, USER, Message("assistant", "", tool_calls=(ToolCall("f", "{}", known),)))
    assert ("messages", 1, "tool_calls", 0, "function", "name") in stream.lost
    assert not stream.trainable


def test_calls_are_numbered_through_the_conversation_where_that_is_asked_for(name):
    foreign = [Message("assistant", "", tool_calls=(ToolCall("f", "{}", "a"), ToolCall("g", "{}"))), RESULT]
    foreign += [
        Message("tool", "t", tool_call_id="a"),
        Message("assistant", "", tool_calls=(CALL, ToolCall("g", "{}"))),
    ]
    stream = tell(name, USER, *foreign, number_calls=True)
    ids = [part.partition("<|tool_call_argument_begin|>")[0] for part in stream.text.split("<|tool_call_begin|>")[1:]]
    assert ids == ["functions.f:0", "functions.g:1", "functions.f:0", "functions.g:3"]
    assert stream.text.count("## Return of functions.f:0\n") == 2
    assert stream.trainable == {1, 4}


def test_calls_are_read_back_with_their_ids(name, example):
    renderer = Renderer(FAMILIES[name], example)
    again = ToolCall("f", "not json", "functions.f:1")
    step = STEP.but(tool_calls=(CALL, again), reasoning=None if name == "kimi-k2" else "r")
    stream = tell(name, USER, step)
    written = "".join(segment.text for segment in stream.segments if segment.kind.sampled)
    parsed = renderer.parse(written, Request((USER,)))
    assert (parsed.message, parsed.exact, parsed.ended) == (step, True, True)


def test_tools_are_one_list_without_a_space(name):
    tools = ({"type": "function", "function": {"name": "é"}}, {"type": "function"})
    declared = '[{"type":"function","function":{"name":"é"}},{"type":"function"}]'
    stream = tell(name, USER, tools=tools)
    assert stream.text.startswith(f"<|im_system|>tool_declare<|im_middle|>{declared}<|im_end|>")
    assert stream.lost == ()


def test_only_the_first_two_say_who_they_are():
    introduced = {name: "You are Kimi" in tell(name, USER).text for name in NAMES}
    assert introduced == {"kimi-k2": True, "kimi-k2-thinking": True, "kimi-k2.5": False, "kimi-k2.6": False}
    assert "You are Kimi" not in tell("kimi-k2", Message("system", "s"), USER).text


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_step_keeps_its_reasoning_until_there_is_an_answer(name):
    assert tell(name, USER, STEP, RESULT).trainable == {1}
    stream = tell(name, USER, STEP, RESULT, Message("assistant", "c", "s"))
    assert "<think></think>b" in stream.text
    assert stream.lost == (("messages", 1, "reasoning_content"), ("messages", 3, "reasoning_content"))
    rewritten, answer = stream.proofs
    assert rewritten.verdict is Verdict.TURN_REWRITTEN
    if name == "kimi-k2.6":
        assert (answer.verdict, answer.note) == (Verdict.PROVED, "thinking=False")
    else:
        assert answer.verdict is Verdict.HISTORY_REWRITTEN


def test_k2_6_can_preserve_all_thinking():
    stream = tell("kimi-k2.6", USER, STEP, RESULT, Message("assistant", "c", "s"), preserve_thinking=True)
    assert "<think>r</think>b" in stream.text
    assert "<think>s</think>c" in stream.text
    assert stream.trainable == {1, 3}


def test_without_thinking_the_prompt_holds_the_empty_thought():
    for name in ("kimi-k2.5", "kimi-k2.6"):
        stream = tell(name, USER, Message("assistant", "b"), thinking=False)
        assert stream.trainable == {1}
        assert not any(segment.kind is Kind.REASONING for segment in stream.segments)
        assert ("<think>r</think>" in tell(name, USER, STEP, thinking=False).text) == (name == "kimi-k2.5")


def test_tools_may_be_given_in_typescript():
    typescript = "type f = () => any;"
    told = tell("kimi-k2.6", USER, tools=({"type": "function"},), tools_ts_str=typescript).text
    assert told.startswith(f"<|im_system|>tool_declare<|im_middle|>{typescript}<|im_end|>")
    assert "tool_declare" not in tell("kimi-k2.6", USER, tools_ts_str=typescript).text
