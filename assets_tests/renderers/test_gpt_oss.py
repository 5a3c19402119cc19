"""What only gpt-oss has: channels, recipients, TypeScript, and stops that depend on what follows."""

from datetime import date

import pytest

from renderers import FAMILIES, Kind, Message, Renderer, Request, Stream, TemplateError, ToolCall, Verdict
from renderers.families.typescript import signature

DAY = date(2025, 7, 1)
USER = Message("user", "?")
STEP = Message("assistant", reasoning="r", tool_calls=(ToolCall("f", '{"a":  1}'),))
RESULT = Message("tool", "t")
ANSWER = Message("assistant", "b", reasoning="s")
CALLED = '<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{"a":  1}<|call|>'
THOUGHT = "<|start|>assistant<|channel|>analysis<|message|>r<|end|>"


def tell(*messages: Message, tools: tuple = (), generating: bool = False, **flags: object) -> Stream:
    return FAMILIES["gpt-oss"].tell(Request(messages, tools, {"today": DAY, **flags}, generating))


def test_the_day_is_told_and_never_guessed():
    assert "\nCurrent date: 2025-07-01\n" in tell(USER).text
    with pytest.raises(TemplateError, match="give `today`"):
        FAMILIES["gpt-oss"].tell(Request((USER,)))


def test_identity_and_effort_are_flags():
    text = tell(USER, model_identity="You are <|end|>.", reasoning_effort="high").text
    assert "<|message|>You are <|end|>.\nKnowledge cutoff" in text
    assert "\n\nReasoning: high\n\n" in text


def test_an_answer_ends_the_completion_only_as_the_last_message():
    last, history = tell(USER, ANSWER), tell(USER, ANSWER, USER)
    assert last.text.endswith("analysis<|message|>s<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>")
    assert last.trainable == {1}
    assert "<|start|>assistant<|channel|>final<|message|>b<|end|><|start|>user" in history.text
    assert history.proofs[0].verdict is Verdict.TURN_REWRITTEN
    assert tell(USER, ANSWER, generating=True).proofs[0].verdict is Verdict.TURN_REWRITTEN


def test_reasoning_before_a_call_is_told_until_an_answer_follows():
    assert THOUGHT + CALLED in tell(USER, STEP, RESULT).text
    assert tell(USER, STEP, RESULT).trainable == {1}
    stream = tell(USER, STEP, RESULT, ANSWER)
    assert THOUGHT not in stream.text
    assert ("messages", 1, "reasoning_content") in stream.lost
    assert [proof.verdict for proof in stream.proofs] == [Verdict.TURN_REWRITTEN, Verdict.HISTORY_REWRITTEN]


def test_content_beside_a_call_is_its_reasoning_and_both_are_refused():
    stream = tell(USER, STEP.but(content="r", reasoning=None))
    assert THOUGHT + CALLED in stream.text
    assert [s.kind for s in stream.segments if s.origin == ("messages", 1, "content")] == [Kind.REASONING]
    with pytest.raises(TemplateError, match="both"):
        tell(USER, STEP.but(content="c"))


def test_of_parallel_calls_all_but_the_first_are_lost_with_their_turn():
    stream = tell(USER, STEP.but(tool_calls=(*STEP.tool_calls, ToolCall("g", "{}"))), RESULT)
    assert ("messages", 1, "tool_calls", 1, "function", "name") in stream.lost
    assert not stream.trainable
    assert "<|start|>functions.f to=assistant<|channel|>commentary<|message|>" + '"t"<|end|>' in stream.text


def test_a_result_needs_a_call():
    with pytest.raises(TemplateError, match="without a call"):
        tell(USER, ANSWER, RESULT)


@pytest.mark.parametrize(
    "spelled",
    [
        ' to=functions.f<|channel|>commentary json<|message|>{"a": 1}<|call|>',
        '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>',
        '<|channel|>commentary to=functions.f<|message|>{"a": 1}<|call|>',
    ],
)
@pytest.mark.parametrize("thought", ["", "<|channel|>analysis<|message|>r<|end|><|start|>assistant"])
def test_a_call_is_read_however_the_model_spells_its_header(vocabulary, thought, spelled):
    renderer = Renderer(FAMILIES["gpt-oss"], vocabulary("gpt-oss"), {"today": DAY})
    parsed = renderer.parse(thought + spelled, Request((USER,)))
    assert parsed.ended
    assert parsed.message == Message(
        "assistant", reasoning="r" if thought else None, tool_calls=(ToolCall("f", '{"a": 1}'),)
    )


def test_an_answer_that_speaks_of_a_call_is_no_call(vocabulary):
    renderer = Renderer(FAMILIES["gpt-oss"], vocabulary("gpt-oss"), {"today": DAY})
    said = "Write to=functions.f<|channel|> there."
    parsed = renderer.parse(f"<|channel|>final<|message|>{said}<|return|>", Request((USER,)))
    assert parsed.message == Message("assistant", said)


def test_a_tool_without_a_description_has_no_comment():
    assert signature({"name": "f"}) == "type f = () => any;\n\n"
    assert signature({"name": "f", "description": "d"}) == "// d\ntype f = () => any;\n\n"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "description": "d", "default": "x"},
        {"type": "string", "enum": ["a", "b"], "default": "a"},
        {"type": "string", "nullable": True},
        {"type": "integer", "nullable": True},
        {"type": "number", "default": 1.5},
        {"type": "array"},
        {"type": "array", "items": {"type": "string"}, "nullable": True},
        {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}}},
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}, "required": ["a"]},
        {"type": ["string", "null"]},
        {"oneOf": [{"type": "string", "description": "d", "default": "p"}, {"type": "number"}], "default": "q"},
        {"oneOf": [{"type": "object"}, {"type": "string"}]},
        {"anyOf": [{"type": "string"}]},
        {},
    ],
    ids=str,
)
def test_a_type_is_spelled_as_upstream_spells_it(traced, schema):
    parameters = {"type": "object", "properties": {"x": schema, "y": {"type": "string"}}, "required": ["y"]}
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}
    assert tell(USER, tools=(tool,)).text == traced("gpt-oss").tell(Request((USER,), (tool,))).text
