"""What is known of messages, of content, and of a request seen from one of its messages."""

import json
import math

import pytest

from renderers.messages import Message, Part, Request, Turn, fact, text, tojson


@pytest.mark.parametrize(
    "value",
    [
        *('é\n\x00\x7f\u2028\ud800/"\\', 1e16, 1e-7, -0.0, math.nan, -math.inf, 10**400, True, None, [], {}),
        {"a": [1, {"b": (2.5, None)}], 2: "c", None: 1, True: 2, 1.5: math.inf},
    ],
)
def test_json_is_spelled_as_python_spells_it(value):
    assert tojson(value) == json.dumps(value, ensure_ascii=False)


def test_what_is_no_json_is_refused_as_python_refuses_it():
    circle: list = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular reference"):
        tojson(circle)
    with pytest.raises(TypeError, match="not JSON serializable"):
        tojson({"a": object()})


def test_the_text_of_content_leaves_media_out():
    assert text((Part("text", "a"), Part("image"), Part("text", "b"))) == "ab"


def test_a_fact_is_found_once_for_a_request():
    asked = []

    @fact
    def users(turn: Turn) -> int:
        asked.append(turn.index)
        return sum(message.role == "user" for message in turn.messages)

    request = Request((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))
    assert [users(Turn(request, index)) for index in range(3)] == [2, 2, 2]
    assert asked == [None]


def test_a_turn_sees_the_roles_around_it():
    request = Request((Message("user", "a"), Message("assistant", "b")))
    first, last, end = Turn(request, 0), Turn(request, 1), Turn(request)
    assert (first.role(-1), first.role(1), last.role(1)) == (None, "assistant", None)
    assert (first.last, last.last, end.role(-1), end.first) == (False, True, "assistant", "user")
