"""Calls in a section, with one element a parameter, read back as they were written."""

import json

import pytest

from renderers.arguments import CallStatus, members, schemas_of, status_of, typed, types_of
from renderers.calling import Found, Tape, calls_in
from renderers.messages import Message, ToolCall
from renderers.toolcalls import Calls, ParameterCall, python_spelled

CALL = ParameterCall('<invoke name="{name}">\n', '<parameter name="{key}">{value}</parameter>\n', "</invoke>\n")
SECTION = Calls(CALL, open="\n<calls>\n", close="</calls>")
TOOLS = ({"function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}}},)


def written(calls: Calls, *arguments: str, content: str = "") -> str:
    message = Message("assistant", content, tool_calls=tuple(ToolCall("f", spelled) for spelled in arguments))
    return content + "".join(segment.text for segment in calls.write(0, message))


def read(calls: Calls, text: str) -> list[Found]:
    tape = Tape()
    tape.add(text)
    tape.ended = tape.stopped = True
    return [
        found for found in calls_in(calls, tape, text.index("\n<calls>"), schemas_of(TOOLS)) if isinstance(found, Found)
    ]


def told(found: list[Found]) -> list[object]:
    return [json.loads(each.call.arguments) for each in found if each.call]


@pytest.mark.parametrize("content", ["", "I look.", "I look.\n"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_section_is_read_as_it_was_written(content, count):
    said = {"x": "12", "y": 12, "z": [None, {"a": "b"}], "w": ""}
    text = written(SECTION, *[json.dumps(said)] * count, content=content)
    found = read(SECTION, text)
    assert told(found) == [said] * count
    assert {each.status for each in found} == {CallStatus.OK}


@pytest.mark.parametrize(
    "value", ["</parameter>", "a</parameter>\nb", "</invoke>\n", '<invoke name="f">\n', "</calls>"]
)
def test_a_value_may_spell_the_words_that_end_it(value):
    assert told(read(SECTION, written(SECTION, json.dumps({"x": value})))) == [{"x": value}]


def test_a_call_without_parameters_has_none():
    assert told(read(SECTION, written(SECTION, "{}"))) == [{}]


def test_a_section_that_was_cut_off_holds_what_can_be_read():
    text = written(SECTION, '{"x": "a"}', '{"x": "b"}')
    for end in range(len("\n<calls>"), len(text)):
        found = read(SECTION, text[:end])
        calls = told(found)
        assert len(found) <= 2
        assert calls == [{"x": "a"}, {"x": "b"}][: len(calls)]
        assert {each.status for each in found if not each.call} <= {CallStatus.UNCLOSED}


@pytest.mark.parametrize(
    ("value", "schema", "meant"),
    [
        ("12", {"type": "string"}, "12"),
        ("12", {"type": "integer"}, 12),
        ("12", {"type": ["string", "null"]}, "12"),
        ("12", {"anyOf": [{"type": "string"}, {"type": "number"}]}, 12),
        ("[1]", {"oneOf": [{"type": "string"}, {"type": "object"}]}, "[1]"),
        ("[1]", {"oneOf": [{"type": "string"}, {}]}, [1]),
        ("1", {"enum": ["1", "2"]}, "1"),
        (" 1", {"type": "string"}, " 1"),
        ("NaN", {"type": "number"}, "NaN"),
        ('"\\ud800"', {}, '"\\ud800"'),
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


def test_constants_of_python_are_text_where_nothing_says_otherwise():
    assert typed("None", {}, python=False) == "None"
    assert typed("True", {"type": "boolean"}, python=False) is True


@pytest.mark.parametrize("schema", [None, {}, {"type": 5}, {"type": [{}]}, {"anyOf": 1}, {"enum": "a"}, [], "x"])
def test_a_schema_that_is_none_is_open(schema):
    assert types_of(schema) == frozenset()


@pytest.mark.parametrize("tool", [{}, {"function": None}, {"function": {"name": 1, "parameters": []}}, {"name": "f"}])
def test_a_tool_that_tells_nothing_has_no_schemas(tool):
    assert list(schemas_of([tool]).values()) == [{}]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("{}", "ok"),
        (' {"a": [{"a": 1}]}\n', "ok"),
        ('{"a": 1, "a": 1}', "ambiguous"),
        ('{"a": {"b": 1, "b": 2}}', "ambiguous"),
        ('{"a": "\ud800"}', "ambiguous"),
        ("[1]", "malformed"),
        ('"{}"', "malformed"),
        ("", "invalid_json"),
        ('{"a": NaN}', "invalid_json"),
        ('{"a": "\n"}', "invalid_json"),
        ("{" * 100_000, "invalid_json"),
        ('{"a":' * 100_000, "invalid_json"),
    ],
    ids=lambda value: value[:20],
)
def test_arguments_must_be_an_object_with_every_key_once(arguments, status):
    assert status_of(arguments) == status


def test_members_are_as_they_are_spelled():
    text = '{ "a" : [1,  2], "b":{}, "a": "x" } {'
    assert members(text, 0) == ([("a", "[1,  2]"), ("b", "{}"), ("a", '"x"')], text.index(" {", 1))
    for broken in ("", "[]", "{", '{"a"}', '{"a": 1,}', '{"a": 1 "b": 2}', "{" * 100_000):
        with pytest.raises((ValueError, RecursionError)):
            members(broken, 0)
