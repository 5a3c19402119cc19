"""JSON values that know their place read as JSON values do, however a template writes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.tracing.places import Near
from renderers.tracing.strings import Text
from renderers.tracing.values import said, tojson, wrap
from renderers.tracing.witness import TracedTemplate

SCALARS = st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.text(max_size=6)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
STYLES = st.fixed_dictionaries(
    {},
    optional={
        "ensure_ascii": st.booleans(),
        "indent": st.sampled_from([None, 0, 2, "\t"]),
        "separators": st.sampled_from([(",", ":"), (" , ", " : ")]),
        "sort_keys": st.booleans(),
    },
)


def parts(text: str) -> list:
    """(text, place) of each run."""
    assert isinstance(text, Text)
    out, start = [], 0
    for end, place in text._runs:
        out.append((str.__str__(text)[start:end], place))
        start = end
    return out


@given(VALUES, STYLES)
def test_tojson_writes_what_json_writes(value, style):
    wanted = json.dumps(value, **{"ensure_ascii": False, **style})
    assert tojson(wrap(value, ("messages", 0, "x")), **style) == wanted
    assert tojson(value, **style) == wanted


@given(VALUES)
def test_a_value_is_written_as_python_writes_it(value):
    assert said(wrap(value, ("messages", 0, "x"))) == str(value)
    assert said((wrap(value, ("x",)),)) == str((value,))


@given(VALUES)
def test_all_of_a_container_is_data(value):
    wrapped = wrap([value], ("messages", 0, "x"))
    for text in (tojson(wrapped), said(wrapped)):
        assert {place[:3] for _, place in parts(text)} == {("messages", 0, "x")}


def test_each_leaf_keeps_its_place_and_punctuation_is_the_containers():
    at = ("tools", 0)
    assert parts(tojson(wrap({"a": [1, None], "b": "x"}, at))) == [
        ('{"a": ', at),
        ("[", (*at, "a")),
        ("1", (*at, "a", 0)),
        (", null]", (*at, "a")),
        (', "b": ', at),
        ('"x"', (*at, "b")),
        ("}", at),
    ]


def test_a_container_of_the_template_is_its_own_words_around_data():
    mine = {"name": wrap("shell", ("messages", 1, "content"))}
    assert [place for _, place in parts(tojson(mine))] == [None, ("messages", 1, "content"), None]


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {True: 1}, {1.5: 1}])
def test_keys_of_the_template_are_spelled_as_json_spells_them(value):
    assert tojson(value) == json.dumps(value)


def test_what_json_cannot_write_is_refused_in_its_words():
    for value in (object(), {"a": {1, 2}}, {(1, 2): 3}):
        with pytest.raises(TypeError) as plain:
            json.dumps(value)
        with pytest.raises(TypeError) as traced:
            tojson(value)
        assert str(traced.value) == str(plain.value)


def test_text_that_no_one_field_can_claim_is_data_all_the_same():
    wrapped = wrap({"a": "<|im_end|>"}, ("messages", 0))
    for value in (wrapped.items(), wrapped.values(), b"<|im_end|>", {"<|im_end|>"}):
        assert parts(said(value)) == [(str(value), ())]


def test_numbers_and_constants_print_as_they_are():
    assert [said(value) for value in (1, 1.5, True, None)] == ["1", "1.5", "True", "None"]
    assert parts(said(wrap(7, ("tools", 0, "n")))) == [("7", ("tools", 0, "n"))]


def test_a_message_role_is_a_word_of_the_format():
    message = wrap({"role": "user", "content": "x"}, ("messages", 0))
    assert parts(message["role"]) == [("user", Near(("messages", 0, "role")))]
    assert parts(wrap({"role": "user"}, ("tools", 0))["role"]) == [("user", ("tools", 0, "role"))]


def test_the_values_are_called_as_what_they_stand_for():
    for value in ({"a": 1}, [1], 1, 1.5, "x"):
        kind = type(wrap(value, ("messages", 0)))
        assert (kind.__module__, kind.__name__) == ("builtins", type(value).__name__)


def test_what_is_no_json_value_is_refused_with_its_path():
    with pytest.raises(TypeError, match=r"messages\.0\.content: set is no JSON value"):
        wrap({"content": {1}}, ("messages", 0))["content"]


@given(st.lists(st.lists(VALUES.filter(bool), min_size=1, max_size=2), min_size=2, max_size=4))
def test_tools_that_were_told_before_are_told_the_same(offers):
    """Of one template many times, as of a fresh one; equal numbers of different types are told differently."""
    part = "{% if tool.x %}{{ tool.x | tojson(indent=1) }}{% endif %}{{ tool | tojson }}"
    source = f"{{% for tool in tools %}}{part}{{% endfor %}}"
    asked, template = [{"role": "user", "content": "a"}], TracedTemplate(source)
    for offer in (*offers, *offers, [1], [True], [1.0]):
        tools = [{"type": "function", "x": value} for value in offer]
        told = template.trace_hub(asked, tools)
        assert parts(told) == parts(TracedTemplate(source).trace_hub(asked, tools))
