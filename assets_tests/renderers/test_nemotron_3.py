"""What only Nemotron 3 has, and where it is told otherwise than upstream tells it."""

import pytest

from renderers import FAMILIES, Kind, Message, Request, ToolCall, Verdict

NEMOTRON = [name for name in FAMILIES if name.startswith("nemotron-3")]
ASKED = Message("user", "?")


def tell(family: str, *messages: Message, tools: tuple = (), **flags: object):
    return FAMILIES[family].tell(Request(messages, tools, flags))


@pytest.mark.parametrize(("family", "newline"), [("nemotron-3-nano", "\n"), ("nemotron-3-ultra", "")])
def test_a_thought_and_content_stand_apart_by_words_of_the_template(family, newline):
    stream = tell(family, ASKED, Message("assistant", "b", reasoning="a"))
    assert stream.text.endswith(f"<think>\na{newline}</think>{newline}b<|im_end|>\n")
    assert [(s.kind, s.text) for s in stream.segments if not s.literal][1:] == [
        (Kind.REASONING, "a"),
        (Kind.ANSWER, "b"),
    ]


@pytest.mark.parametrize("family", NEMOTRON)
def test_inline_reasoning_moves_to_its_place(family):
    inline = tell(family, ASKED, Message("assistant", "<think>\na\n</think>\nb"))
    assert inline.text == tell(family, ASKED, Message("assistant", "b", reasoning="a")).text
    assert inline.trainable == {1}


@pytest.mark.parametrize("family", NEMOTRON)
def test_a_turn_that_does_not_think_is_proved_with_thinking_off(family):
    (proof,) = tell(family, ASKED, Message("assistant", "a")).proofs
    assert (proof.verdict, proof.note) == (Verdict.PROVED, "enable_thinking=False")


@pytest.mark.parametrize("family", NEMOTRON)
def test_blanks_before_content_beside_calls_are_as_they_were_sampled(family):
    called = Message("assistant", " a ", tool_calls=(ToolCall("f", '{"x": true}'),))
    for after in ((), (ASKED,)):
        said = tell(family, ASKED, called, *after).text
        call = "<tool_call>\n<function=f>\n<parameter=x>\nTrue\n</parameter>\n</function>\n</tool_call>\n"
        assert f"<think></think> a\n{call}<|im_end|>" in said


@pytest.mark.parametrize("family", NEMOTRON)
def test_a_result_that_comes_first_opens_a_turn(family):
    assert (
        "<|im_start|>user\n<tool_response>\na\n</tool_response>\n<|im_end|>\n"
        in tell(family, Message("tool", "a")).text
    )


@pytest.mark.parametrize(
    ("family", "flag", "words"),
    [("nemotron-3-super", "low_effort", "low"), ("nemotron-3-ultra", "medium_effort", "efficient")],
)
def test_how_much_to_think_is_said_in_the_last_user_message(family, flag, words):
    messages = (ASKED, Message("assistant", "a", reasoning="r"), ASKED, Message("assistant", "b", reasoning="s"))
    stream = tell(family, *messages, **{flag: True})
    assert stream.text.count("{reasoning effort: " + words + "}") == 1
    first, second = (proof.verdict for proof in stream.proofs)
    assert (first, second) == (Verdict.HISTORY_REWRITTEN, Verdict.PROVED)


def test_a_tool_is_declared_in_xml_with_all_that_its_schema_says():
    x = {"type": ["string", "null"], "description": " d ", "enum": ["a"], "default": None}
    parameters = {"type": "object", "properties": {"x": x}, "required": ["x"], "additionalProperties": False}
    tool = {"function": {"name": "f", "parameters": parameters, "strict": True}}
    said = tell("nemotron-3-nano", ASKED, tools=(tool,)).text
    assert (
        "\n<function>\n<name>f</name>\n<parameters>\n<parameter>\n<name>x</name>\n<type>['string', 'null']</type>"
        '\n<description>d</description>\n<enum>["a"]</enum>\n<default>None</default>\n</parameter>'
        '\n<additionalProperties>False</additionalProperties>\n<required>["x"]</required>\n</parameters>'
        "\n<strict>True</strict>\n</function>\n</tools>"
    ) in said
