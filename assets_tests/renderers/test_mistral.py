"""What only Mistral and Gemma 3 have: no headers, turns that must alternate, ids of nine characters, moving tools."""

import pytest

from renderers import FAMILIES, Message, Part, Request, Stream, TemplateError, ToolCall, Verdict

USER, ANSWER, SYSTEM = Message("user", "u"), Message("assistant", "a"), Message("system", "s")
TOOLS = ({"type": "function", "function": {"name": "f", "description": 'a "b"', "return": {}}},)
CALL = Message("assistant", tool_calls=(ToolCall("f", '{"a":  1}', "abcdefghi"),))
RESULT = Message("tool", "t", tool_call_id="abcdefghi")


def tell(name: str, *messages: Message, tools: tuple = (), **flags: object) -> Stream:
    return FAMILIES[name].tell(Request(messages, tools, flags))


def test_nemo_tells_the_system_message_only_where_the_user_speaks_last():
    assert tell("mistral-nemo", SYSTEM, USER).text == "<s>[INST]s\n\nu[/INST]"
    stream = tell("mistral-nemo", SYSTEM, USER, ANSWER)
    assert stream.text == "<s>[INST]u[/INST]a</s>"
    assert stream.lost == (("messages", 0, "content"),)
    assert stream.proofs[0].verdict is Verdict.HISTORY_REWRITTEN


def test_nemo_quotes_what_a_tool_says_of_itself_without_escaping_it():
    text = tell("mistral-nemo", USER, tools=TOOLS).text
    told = '{"type": "function", "function": {"name": "f", "description": "a "b""}}'
    assert text == f"<s>[AVAILABLE_TOOLS][{told}][/AVAILABLE_TOOLS][INST]u[/INST]"


@pytest.mark.parametrize("name", ["mistral-nemo", "mistral-small-3.2"])
def test_tools_move_to_the_last_user_turn_and_unprove_what_was_written_before(name):
    again = Message("user", "v")
    stream = tell(name, USER, CALL, RESULT, ANSWER, again, ANSWER, tools=TOOLS)
    assert stream.text.startswith("<s>[INST]u[/INST]")
    assert "</s>[AVAILABLE_TOOLS]" in stream.text
    assert [proof.verdict is Verdict.PROVED for proof in stream.proofs] == [False, False, True]
    assert tell(name, USER, CALL, RESULT, ANSWER, tools=TOOLS).trainable == {1, 3}
    assert tell(name, USER, CALL, RESULT, ANSWER, again, ANSWER).trainable == {1, 3, 5}


def test_what_closes_users_told_as_one_is_not_written_by_the_turn_behind_them(official_template):
    users = Message("user", "u"), Message("user", "")
    told = (*users, CALL.but(content="said"), RESULT, ANSWER, Message("user", "v"), ANSWER)
    stream = official_template("mistral-small-3.2").tell(Request(told, TOOLS))
    assert [proof.verdict is Verdict.PROVED for proof in stream.proofs] == [False, False, True]
    assert not [one for one in stream.segments if one.kind.sampled and "[/INST]" in one.text]


def test_ministral_keeps_tools_in_the_first_user_turn():
    stream = tell("ministral-3", USER, CALL, RESULT, ANSWER, Message("user", "v"), ANSWER, tools=TOOLS)
    assert stream.text.startswith("<s>[AVAILABLE_TOOLS]")
    assert stream.text.count("[AVAILABLE_TOOLS]") == 1
    assert stream.trainable == {1, 3, 5}


@pytest.mark.parametrize(
    ("name", "call", "result"),
    [
        (
            "mistral-nemo",
            '[TOOL_CALLS][{"name": "f", "arguments": {"a":  1}, "id": "abcdefghi"}]</s>',
            '[TOOL_RESULTS]{"content": t, "call_id": "abcdefghi"}[/TOOL_RESULTS]',
        ),
        (
            "mistral-small-3.2",
            '[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"a":  1}</s>',
            "[TOOL_RESULTS]abcdefghi[TOOL_CONTENT]t[/TOOL_RESULTS]",
        ),
        ("ministral-3", '[TOOL_CALLS]f[ARGS]{"a":  1}</s>', "[TOOL_RESULTS]t[/TOOL_RESULTS]"),
    ],
)
def test_arguments_are_written_byte_for_byte(name, call, result):
    assert tell(name, USER, CALL, RESULT).text == f"<s>[INST]u[/INST]{call}{result}"


@pytest.mark.parametrize("name", ["mistral-nemo", "mistral-small-3.2"])
@pytest.mark.parametrize("known", [None, "call_1"])
def test_an_id_of_another_length_is_refused(name, known):
    with pytest.raises(TemplateError, match=r"message 1: .*nine characters; number_calls=True"):
        tell(name, USER, CALL.but(tool_calls=(ToolCall("f", "{}", known),)))
    with pytest.raises(TemplateError, match=r"message 2: .*nine"):
        tell(name, USER, CALL, RESULT.but(tool_call_id=known))


@pytest.mark.parametrize("name", ["mistral-nemo", "mistral-small-3.2"])
def test_ids_of_another_length_are_numbered_where_that_is_asked_for(name):
    foreign = CALL.but(tool_calls=(*CALL.tool_calls, ToolCall("g", "{}", "call_1")))
    stream = tell(name, USER, foreign, RESULT, RESULT.but(tool_call_id="call_1"), number_calls=True)
    assert stream.text.count("abcdefghi") == stream.text.count("000000001") == 2
    assert stream.trainable == {1}


@pytest.mark.parametrize("name", ["mistral-small-3.2", "ministral-3"])
def test_users_in_a_row_are_one_turn(name, traced):
    messages = (USER, Message("user", "v"), ANSWER, SYSTEM.but(role="user"))
    assert tell(name, *messages).text == "<s>[INST]u\n\nv[/INST]a</s>[INST]s[/INST]"
    assert tell(name, *messages).text == traced(name).tell(Request(messages)).text
    parts = Message("user", (Part("text", "u"), Part("text", "v")))
    assert tell(name, parts).text == "<s>[INST]u\n\nv[/INST]"


@pytest.mark.parametrize("name", ["mistral-small-3.2", "ministral-3"])
@pytest.mark.parametrize(
    "messages", [(USER, ANSWER, ANSWER), (ANSWER,), (USER, RESULT), (USER, ANSWER.but(content=""))]
)
def test_what_mistral_has_no_turn_for_is_refused(name, messages):
    with pytest.raises(TemplateError):
        tell(name, *messages)


@pytest.mark.parametrize("name", ["mistral-nemo", "gemma-3"])
@pytest.mark.parametrize("messages", [(USER, USER), (ANSWER,), (USER, ANSWER, ANSWER), (USER, ANSWER, SYSTEM)])
def test_who_speaks_out_of_turn_is_refused(name, messages):
    with pytest.raises(TemplateError):
        tell(name, *messages)


def test_gemma_opens_the_first_user_turn_with_the_system_message():
    parts = SYSTEM.but(content=(Part("text", " s"), Part("text", "s ")))
    stream = tell("gemma-3", parts, Message("user", " u "), ANSWER, tools=TOOLS)
    told = "<start_of_turn>user\n ss \n\nu<end_of_turn>\n<start_of_turn>model\na<end_of_turn>\n"
    assert stream.text == f"<bos>{told}"
    assert stream.lost == (("tools", 0),)
    assert stream.trainable == {2}
