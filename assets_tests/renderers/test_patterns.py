"""A pattern writes text and reads it back; data is never a pattern."""

import pytest

from renderers.messages import Message, Part, Request, Turn
from renderers.patterns import fill, given, run, say, take
from renderers.segments import Kind, Segment, segments_of

CALL = '<call>{"name": "{name}", "arguments": {arguments}}</call>'


def texts(segments) -> str:
    return "".join(segment.text for segment in segments)


def test_words_are_literal_and_data_is_not():
    told = list(segments_of(fill("<a>{content}<b>", 3, Kind.USER, content=given("hi", "messages", 3, "content"))))
    assert told == [
        Segment("<a>", Kind.SCAFFOLD, 3),
        Segment("hi", Kind.USER, 3, literal=False, origin=("messages", 3, "content")),
        Segment("<b>", Kind.SCAFFOLD, 3),
    ]


def test_what_is_filled_is_taken_back():
    data = {"name": given("f", "n"), "arguments": given('{"a": {}}', "a")}
    written = texts(fill(CALL, 0, Kind.TOOL_CALL, **data))
    assert take(CALL, written + "rest") == ({"name": "f", "arguments": '{"a": {}}'}, len(written))


@pytest.mark.parametrize("place", ["{name}", "{arguments}", "{content}", "{", "}}", "{{name}}"])
def test_data_that_spells_a_place_is_data(place):
    written = texts(fill(CALL, 0, Kind.TOOL_CALL, name=given(place, "n"), arguments=given(place, "a")))
    assert take(CALL, written) == ({"name": place, "arguments": place}, len(written))


@pytest.mark.parametrize("text", ["", "<call>", '<call>{"name": "f', '<call>{"name": "f", "arguments": {}', "x" + CALL])
def test_what_does_not_stand_is_not_taken(text):
    assert take(CALL, text) is None


def test_a_text_is_searched_once_a_place_however_odd_it_is():
    class Counted(str):
        searches = 0

        def find(self, *where):
            Counted.searches += 1
            return super().find(*where)

    assert take(CALL, Counted('<call>{"name": "' + '", "arguments": {' * 10_000)) is None
    assert Counted.searches == 2


def test_a_place_that_nothing_fills_is_found_when_the_brick_is_made():
    with pytest.raises(AssertionError, match="contnet"):
        say("<a>{contnet}")


def test_each_part_of_content_is_a_text_of_its_own():
    request = Request((Message("user", (Part("text", "a"), Part("text", ""), Part("text", "b"))),))
    told = [s for s in segments_of(say("<{content}>")(Turn(request, 0))) if not s.literal]
    assert [(s.text, s.origin) for s in told] == [
        ("a", ("messages", 0, "content", 0, "text")),
        ("b", ("messages", 0, "content", 2, "text")),
    ]


def test_messages_in_a_row_are_told_as_one_turn():
    brick = run("(", "[{content}]", ")")
    roles = [("tool", "a"), ("tool", "b"), ("user", "c"), ("tool", "d")]
    request = Request(tuple(Message(role, content) for role, content in roles))
    assert [texts(brick(Turn(request, index))) for index in (0, 1, 3)] == ["([a]", "[b])", "([d])"]


def test_a_place_that_holds_json_ends_where_its_value_ends():
    pattern, written = '{"a": {arguments}}', '{"a": {"b": "}", "c": {}}} more'
    assert take(pattern, written, value="arguments") == ({"arguments": '{"b": "}", "c": {}}'}, len(written) - 5)
    assert take(pattern, '{"a": {"b": }', value="arguments") == ({"arguments": '{"b": '}, 13)
