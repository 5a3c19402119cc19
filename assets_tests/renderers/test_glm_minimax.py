"""What only GLM and MiniMax have: stops lent by the next turn, calls with one element a parameter."""

import json

import pytest

from renderers import FAMILIES, Kind, Message, Renderer, Request, TemplateError, ToolCall, Verdict

GLM = [name for name in FAMILIES if name.startswith("glm")]
PARAMETERS = {"text": {"type": "string"}, "count": {"type": "integer"}, "any": {}}
TOOL = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"properties": PARAMETERS}}}
ASKED = Message("user", "?")


def tell(family: str, *messages: Message, tools: tuple = (), **flags: object):
    return FAMILIES[family].tell(Request(messages, tools, flags))


@pytest.mark.parametrize("family", GLM)
@pytest.mark.parametrize(("role", "marker"), [("user", "<|user|>"), ("tool", "<|observation|>")])
def test_the_next_role_is_the_stop_of_the_turn_before_it(family, role, marker):
    stream = tell(family, ASKED, Message("assistant", "a", reasoning="b"), Message(role, "c"))
    stops = [(s.text, s.message) for s in stream.segments if s.kind is Kind.STOP]
    assert stops == [(marker, 1)]
    if role == "tool":
        assert stream.trainable == {1}


@pytest.mark.parametrize("family", GLM)
def test_a_turn_that_nothing_ends_is_not_trained(family):
    for after in ((), (Message("assistant", "b"),), (Message("system", "c"),)):
        stream = tell(family, ASKED, Message("assistant", "a", reasoning="r"), *after)
        assert 1 not in stream.trainable
        assert not any(s.kind is Kind.STOP for s in stream.segments)


@pytest.mark.parametrize("family", ["glm-4.5", "glm-5", "minimax-m2"])
@pytest.mark.parametrize("arguments", ['{"x": ', "[1]", '"x"', "[" * 100_000])
def test_arguments_that_are_no_object_are_refused(family, arguments):
    with pytest.raises(TemplateError, match="message 1: tool arguments"):
        tell(family, ASKED, Message("assistant", tool_calls=(ToolCall("f", arguments),)))


@pytest.mark.parametrize("family", ["glm-4.5", "glm-5", "minimax-m2"])
def test_a_parameter_has_its_type_from_the_schema(family, vocabulary):
    said = {"text": "12", "count": 12, "any": {"a": [None, "</b>"]}, "other": "x\n"}
    call = ToolCall("f", json.dumps(said))
    asked = Request((ASKED, Message("assistant", "a", "r", (call,)), Message("tool", "b")), (TOOL,))
    stream = FAMILIES[family].tell(asked)
    written = "".join(s.text for s in stream.segments if s.message == 1 and s.kind.sampled)
    read = Renderer(FAMILIES[family], vocabulary(family)).parse(written, Request((ASKED,), (TOOL,))).message
    assert json.loads(read.tool_calls[0].arguments) == said


@pytest.mark.parametrize("family", GLM)
def test_a_turn_without_a_thought_is_proved_where_serving_can_ask_for_one(family):
    (proof,) = tell(family, ASKED, Message("assistant", "a")).proofs
    opens_bare = family in ("glm-4.7-flash", "glm-5", "glm-5.1")
    assert (proof.verdict, proof.note) == (Verdict.PROVED, "enable_thinking=False" if opens_bare else "")


def test_a_tool_may_stay_undeclared_until_it_is_asked_for():
    deferred = {"function": {"name": "g", "defer_loading": True}}
    stream = tell("glm-5.1", ASKED, tools=(TOOL, deferred))
    assert [s.origin for s in stream.segments if s.kind is Kind.TOOLS and not s.literal] == [("tools", 0)]
    assert "strict" not in stream.text
    assert stream.lost == (("tools", 1),)


@pytest.mark.parametrize(
    ("flags", "opening"),
    [
        ({}, "[gMASK]<sop><|system|>Reasoning Effort: Max<|user|>"),
        ({"reasoning_effort": "high"}, "[gMASK]<sop><|system|>Reasoning Effort: High<|user|>"),
        ({"enable_thinking": False}, "[gMASK]<sop><|user|>"),
    ],
    ids=str,
)
def test_glm_5_2_says_how_much_to_think(flags, opening):
    assert tell("glm-5.2", ASKED, **flags).text.startswith(opening)


def test_minimax_is_told_who_it_is_where_nobody_tells_it():
    assert tell("minimax-m2", ASKED).text.startswith("]~!b[]~b]system\nYou are a helpful assistant.[e~[")
    assert "Your name is MiniMax-M2.7" in tell("minimax-m2.7", ASKED).text
    stream = tell("minimax-m2", ASKED, model_identity="You are [e~[")
    assert next(s.origin for s in stream.segments if not s.literal) == ("flags", "model_identity")
    assert tell("minimax-m2", Message("system", "Be brief."), ASKED).text.startswith("]~!b[]~b]system\nBe brief.[e~[")


def test_minimax_never_writes_a_turn_without_a_thought():
    (proof,) = tell("minimax-m2", ASKED, Message("assistant", "a")).proofs
    assert proof.verdict is Verdict.PROMPT_ABSENT
    assert tell("minimax-m2", ASKED, Message("assistant", "a", reasoning="b")).trainable == {1}


def test_a_result_that_nobody_asked_for_is_refused():
    with pytest.raises(TemplateError, match="message 2: a tool result"):
        tell("minimax-m2", ASKED, Message("assistant", "a"), Message("tool", "b"))
