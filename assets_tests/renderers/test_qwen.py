"""What only the families of Qwen have: siblings, tools in XML, switches, and deviations that no golden shows."""

import json

import pytest

from renderers import (
    FAMILIES,
    Message,
    Request,
    Stream,
    TemplateError,
    ToolCall,
    UnknownFlag,
    Verdict,
    create_renderer,
)

ASK, ANSWER = Message("user", "?"), Message("assistant", "!")
TOOLS = ({"type": "function", "function": {"name": "f"}},)
TRIMMING = ("qwen3.5", "qwen3.5-small", "qwen3.6", "qwen3.8")
PARAMETERS = ("qwen3-coder", *TRIMMING)


def tell(family: str, *messages: Message, tools: tuple = (), generating: bool = False, **flags: object) -> Stream:
    return FAMILIES[family].tell(Request(messages, tools, flags, generating))


def calling(arguments: str) -> Message:
    return Message("assistant", tool_calls=(ToolCall("f", arguments),))


def test_the_first_revision_of_qwen3_is_told_as_the_last(shared, load):
    conversations = json.loads((shared / "goldens" / "conversations.json").read_text(encoding="utf-8"))
    tokenizer, equal = load("qwen3-orig"), 0
    for line in (shared / "goldens" / "qwen3-orig.jsonl").read_bytes().split(b"\n")[:-1]:
        row = json.loads(line)
        asked, kwargs = conversations[row["id"]], row["kwargs"]
        if "text" not in row or "continue_final_message" in kwargs or row["id"] == "call-result-json":
            continue
        flags = {name: value for name, value in kwargs.items() if name == "enable_thinking"}
        renderer, generating = create_renderer(tokenizer, **flags), kwargs["add_generation_prompt"]
        assert renderer.name == "qwen3"
        result = renderer.render(
            asked["messages"], asked["tools"], add_generation_prompt=generating, seam=False, special_text="parse"
        )
        assert (result.text, result.ids.tolist()) == (row["text"], row["ids"]), row["id"]
        equal += 1
    assert equal == 126


@pytest.mark.parametrize("family", ["qwen3", "qwen3-2507-thinking"])
def test_line_breaks_that_are_all_the_content_leave_no_break_before_a_call(family):
    called = Message("assistant", "\n\n", "why", (ToolCall("f", "{}"),))
    assert "\n</think>\n\n<tool_call>\n" in tell(family, ASK, called).text


def test_qwen2_5_is_told_who_it_is_unless_a_system_message_says_so():
    who = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    assert tell("qwen2.5", ASK).text.startswith(f"{who}<|im_end|>\n")
    assert tell("qwen2.5", ASK, tools=TOOLS).text.startswith(f"{who}\n\n# Tools\n")
    assert tell("qwen2.5", Message("system", "Me."), ASK).text.startswith("<|im_start|>system\nMe.<|im_end|>\n")


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3-2507-instruct", "qwen3-vl", "qwen3-coder"])
def test_a_model_that_never_reasons_loses_reasoning_and_its_turn(family):
    stream = tell(family, ASK, Message("assistant", "!", "why"))
    assert "why" not in stream.text
    assert stream.lost == (("messages", 1, "reasoning_content"),)
    assert not stream.trainable


def test_a_model_that_always_reasons_never_wrote_a_turn_without_a_thought():
    stream = tell("qwen3-2507-thinking", ASK, ANSWER, ASK, Message("assistant", "!", "why"))
    assert [proof.verdict for proof in stream.proofs] == [Verdict.PROMPT_ABSENT, Verdict.PROVED]


def test_a_later_system_message_is_lost_to_qwen3_vl():
    stream = tell("qwen3-vl", Message("system", "a"), ASK, Message("system", "b"))
    assert stream.lost == (("messages", 2, "content"),)


def test_qwen3_coder_is_told_its_tools_in_xml():
    properties = {
        "path": {"type": "string", "description": " Where. "},
        "n": {"type": ["integer", "null"], "default": None, "enum": [1, 2], "exact": True},
    }
    function = {
        "name": "read",
        "description": "Reads.\n",
        "parameters": {"type": "object", "properties": properties, "required": ["path"]},
        "strict": False,
    }
    stream = tell("qwen3-coder", ASK, tools=({"type": "function", "function": function}, {"name": "bare"}))
    assert (
        """
<tools>
<function>
<name>read</name>
<description>Reads.</description>
<parameters>
<parameter>
<name>path</name>
<type>string</type>
<description>Where.</description>
</parameter>
<parameter>
<name>n</name>
<type>['integer', 'null']</type>
<default>None</default>
<enum>[1, 2]</enum>
<exact>True</exact>
</parameter>
<required>["path"]</required>
</parameters>
<strict>False</strict>
</function>
<function>
<name>bare</name>
<parameters>
</parameters>
</function>
</tools>
"""
        in stream.text
    )


@pytest.mark.parametrize("family", PARAMETERS)
def test_a_tool_result_that_comes_first_opens_a_turn(family):
    assert tell(family, Message("tool", "r"), ASK).text.count("<|im_start|>user\n") == 2


@pytest.mark.parametrize("family", PARAMETERS)
@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", ""])
def test_arguments_that_are_no_object_are_refused(family, arguments):
    with pytest.raises(TemplateError, match="message 1: tool arguments"):
        tell(family, ASK, calling(arguments))


@pytest.mark.parametrize(
    ("family", "spelled"),
    [("qwen3-coder", "True"), ("qwen3.5", "True"), ("qwen3.6", "true"), ("qwen3.8", "true")],
)
def test_a_boolean_is_spelled_as_the_family_spells_it(family, spelled):
    told = tell(family, ASK, calling('{"a": true, "b": [true]}')).text
    assert f"<parameter=a>\n{spelled}\n</parameter>\n<parameter=b>\n[true]\n</parameter>" in told


@pytest.mark.parametrize("family", TRIMMING)
def test_nobody_asks_and_it_is_refused(family):
    for messages in ([Message("system", "a")], [Message("user", " <tool_response>x</tool_response>\n")], [ANSWER]):
        with pytest.raises(TemplateError, match="asks nothing"):
            tell(family, *messages)
    stream = tell(family, Message("system", "a"), ANSWER, ASK)
    assert [proof.verdict for proof in stream.proofs] == [Verdict.PROMPT_REFUSED]
    with pytest.raises(TemplateError, match="message 1: the system message must be the first"):
        tell(family, ASK, Message("system", "a"))


@pytest.mark.parametrize("family", TRIMMING)
def test_blanks_around_what_is_said_are_not_told(family):
    told = tell(family, Message("user", "\n a "), Message("assistant", " c\n", "\n\n b "), Message("tool", " d "))
    assert "user\na<|im_end|>" in told.text
    assert "<think>\nb\n</think>\n\nc<|im_end|>" in told.text
    assert "<tool_response>\nd\n</tool_response>" in told.text
    assert not told.lost


@pytest.mark.parametrize(("family", "thinking"), [("qwen3.5", True), ("qwen3.5-small", False), ("qwen3.8", True)])
def test_a_family_thinks_or_not_by_default(family, thinking):
    prompts = {True: "assistant\n<think>\n", False: "assistant\n<think>\n\n</think>\n\n"}
    assert tell(family, ASK, generating=True).text.endswith(prompts[thinking])
    assert tell(family, ASK, generating=True, enable_thinking=not thinking).text.endswith(prompts[not thinking])


@pytest.mark.parametrize(("family", "preserves"), [("qwen3.6", False), ("qwen3.8", True)])
def test_thinking_before_the_last_query_is_preserved_where_that_is_asked_for(family, preserves):
    messages = (ASK, Message("assistant", "!", "why"), ASK)
    assert ("<think>\nwhy\n</think>" in tell(family, *messages).text) is preserves
    for asked in (True, False):
        assert ("<think>\nwhy\n</think>" in tell(family, *messages, preserve_thinking=asked).text) is asked


def test_qwen3_8_is_told_how_hard_to_think_while_it_may():
    system = Message("system", "Be brief.")
    xhigh, low = tell("qwen3.8", system, ASK).text, tell("qwen3.8", ASK, reasoning_effort="low").text
    assert xhigh.startswith("<|im_start|>system\nReasoning effort is set to xhigh. Please think carefully")
    assert low.startswith("<|im_start|>system\nReasoning effort is set to low. Keep your thinking brief")
    assert xhigh.endswith("the final answer.\n\nBe brief.<|im_end|>\n<|im_start|>user\n?<|im_end|>\n")
    for quiet in (tell("qwen3.8", ASK, reasoning_effort="medium"), tell("qwen3.8", ASK, enable_thinking=False)):
        assert quiet.text == "<|im_start|>user\n?<|im_end|>\n"
    with pytest.raises(UnknownFlag, match=r"reasoning_effort takes one of xhigh, medium, low, not 'high'"):
        tell("qwen3.8", ASK, enable_thinking=False, reasoning_effort="high")


def test_qwen3_8_leaves_inline_reasoning_in_the_content():
    told = tell("qwen3.8", ASK, Message("assistant", "<think>\na\n</think>\n\nb"))
    assert "<think>\n\n</think>\n\n<think>\na\n</think>\n\nb<|im_end|>" in told.text
