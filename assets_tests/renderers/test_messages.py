"""What is known of messages, of content, and of a request seen from one of its messages."""

from renderers.messages import Message, Part, Request, Turn, fact, text


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
