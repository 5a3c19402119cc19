"""Calls in a section, with one element a parameter, read back as they were written."""

import json

import pytest

from renderers.messages import Message, ToolCall
from renderers.toolcalls import Calls, ParameterCall, python_spelled, schemas_of, typed

CALL = ParameterCall('<invoke name="{name}">\n', '<parameter name="{key}">{value}</parameter>\n', "</invoke>\n")
SECTION = Calls(CALL, open="\n<calls>\n", close="</calls>")
TOOLS = ({"function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}}},)


def written(calls: Calls, *arguments: str, content: str = "") -> str:
    message = Message("assistant", content, tool_calls=tuple(ToolCall("f", spelled) for spelled in arguments))
    return content + "".join(segment.text for segment in calls.write(0, message))


def read(calls: Calls, text: str) -> tuple[str, list[object], list[str]]:
    before, found, broken = calls.read(text, lambda words: words, schemas_of(TOOLS))
    return before, [json.loads(call.arguments) for call in found], broken


@pytest.mark.parametrize("content", ["", "I look.", "I look.\n"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_section_is_read_as_it_was_written(content, count):
    said = {"x": "12", "y": 12, "z": [None, {"a": "b"}], "w": ""}
    text = written(SECTION, *[json.dumps(said)] * count, content=content)
    assert read(SECTION, text) == (content, [said] * count, [])


@pytest.mark.parametrize(
    "value", ["</parameter>", "a</parameter>\nb", "</invoke>\n", '<invoke name="f">\n', "</calls>"]
)
def test_a_value_may_spell_the_words_that_end_it(value):
    assert read(SECTION, written(SECTION, json.dumps({"x": value}))) == ("", [{"x": value}], [])


def test_a_call_without_parameters_has_none():
    assert read(SECTION, written(SECTION, "{}")) == ("", [{}], [])


def test_a_section_that_was_cut_off_holds_what_can_be_read():
    text = written(SECTION, '{"x": "a"}', '{"x": "b"}')
    for end in range(len(text)):
        _, calls, broken = read(SECTION, text[:end])
        assert len(calls) + len(broken) <= 2
        assert calls == [{"x": "a"}, {"x": "b"}][: len(calls)]


@pytest.mark.parametrize(
    ("value", "schema", "meant"),
    [
        ("12", {"type": "string"}, "12"),
        ("12", {"type": "integer"}, 12),
        ("12", None, 12),
        ("a b", None, "a b"),
        ("True", {"type": "boolean"}, True),
        ("None", {"type": ["string", "null"]}, None),
        ("[" * 100_000, {}, "[" * 100_000),
    ],
)
def test_a_parameter_is_text_where_the_schema_says_so_else_the_json_that_it_may_be(value, schema, meant):
    assert typed(value, schema) == meant


def test_python_spells_what_is_neither_text_nor_a_container():
    assert [python_spelled(value) for value in (True, None, 1.5, "é", ["é"])] == ["True", "None", "1.5", "é", '["é"]']
