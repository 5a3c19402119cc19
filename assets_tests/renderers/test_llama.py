"""What only Llama has: a date that the system turn prints, and tools in the first user turn."""

from datetime import date

import pytest

from renderers import FAMILIES, Message, Request, Stream, TemplateError, ToolCall, UnknownFlag, create_renderer

USER = Message("user", " Hi ")
TOOLS = ({"type": "function", "function": {"name": "f", "description": "é"}},)
CALL = Message("assistant", tool_calls=(ToolCall("f", '{"a":  1}'),))
SYSTEM = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
OPENED = SYSTEM + "Cutting Knowledge Date: December 2023\nToday Date: "
DATED = ("llama-3.1", "llama-3.2")


def tell(name: str, *messages: Message, tools: tuple = (), **flags: object) -> Stream:
    return FAMILIES[name].tell(Request(messages, tools, flags))


def test_the_date_is_the_templates_or_the_one_that_was_given():
    assert tell("llama-3.1", USER).text.startswith(f"{OPENED}26 Jul 2024\n\n<|eot_id|>")
    assert tell("llama-3.2", USER, today=date(2025, 7, 1)).text.startswith(f"{OPENED}01 Jul 2025\n\n<|eot_id|>")


@pytest.mark.parametrize("name", DATED)
def test_a_date_string_comes_before_the_day_and_is_data(name):
    stream = tell(name, USER, date_string="<|eot_id|>")
    assert stream.text.startswith(f"{OPENED}<|eot_id|>\n\n<|eot_id|>")
    assert [s.literal for s in stream.segments if s.origin == ("flags", "date_string")] == [False]


def test_the_day_is_never_guessed():
    with pytest.raises(TemplateError, match="give `today`"):
        tell("llama-3.2", USER)


def test_the_day_reaches_the_families_that_print_it_and_no_other(example):
    day = date(2025, 7, 1)
    told = create_renderer(example, "llama-3.2", today=day).render([USER]).text
    assert "Today Date: 01 Jul 2025" in told
    assert create_renderer(example, "llama-3", today=day).render([USER]).text.startswith("<|begin_of_text|><|start")
    with pytest.raises(UnknownFlag, match="date"):
        create_renderer(example, "llama-3.2", date_string=day)


@pytest.mark.parametrize("system", [(), (Message("system", "s"),)])
def test_tools_stand_in_the_first_user_turn(system):
    text = tell("llama-3.1", *system, USER, Message("assistant", "a"), USER, tools=TOOLS).text
    assert text.startswith(SYSTEM + "Environment: ipython\nCutting")
    first, second = text.split("<|start_header_id|>user<|end_header_id|>\n\n")[1:]
    assert first.startswith("Given the following functions")
    assert '"description": "é"' in first
    assert "}\n\nHi<|eot_id|>" in first
    assert second.startswith("Hi<|eot_id|>")


def test_tools_stand_in_the_system_turn_where_that_is_asked_for(traced):
    request = Request((Message("system", "s"), USER), TOOLS, {"tools_in_user_message": False})
    stream = FAMILIES["llama-3.1"].tell(request)
    assert stream.text == traced("llama-3.1").tell(request).text
    assert not stream.lost


@pytest.mark.parametrize("messages", [(Message("assistant", "a"), USER), (Message("system", "s"),)])
def test_tools_need_a_user_to_be_told_to(messages):
    with pytest.raises(TemplateError, match="tools are told"):
        tell("llama-3.1", *messages, tools=TOOLS)


def test_a_call_is_all_that_its_message_says():
    stream = tell("llama-3.1", USER, CALL.but(content="c"))
    assert stream.text.endswith('assistant<|end_header_id|>\n\n{"name": "f", "parameters": {"a":  1}}<|eot_id|>')
    assert stream.lost == (("messages", 1, "content"),)
    assert tell("llama-3.1", USER, CALL).trainable == {1}
    with pytest.raises(TemplateError, match="one tool call"):
        tell("llama-3.1", USER, CALL.but(tool_calls=CALL.tool_calls * 2))


def test_llama_3_has_no_words_for_calls():
    stream = tell("llama-3", USER, CALL, Message("tool", "t"), tools=TOOLS)
    assert "<|start_header_id|>tool<|end_header_id|>\n\nt<|eot_id|>" in stream.text
    assert len(stream.lost) == 3
    assert not stream.trainable


def test_llama_3_3_is_told_as_llama_3_1(shared):
    templates = {(shared / "goldens" / f"llama-{version}.jsonl").read_bytes() for version in ("3.1", "3.3")}
    assert len(templates) == 1
    assert "meta-llama/Llama-3.3-70B-Instruct" in FAMILIES["llama-3.1"].models
