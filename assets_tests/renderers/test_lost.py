"""Which fields of a conversation a telling leaves out."""

from renderers import Kind, Message, Part, Request, Segment, ToolCall
from renderers.lost import lost_fields


def test_a_field_is_told_by_a_segment_at_it_in_it_or_around_it():
    parts = (Part("text", "a"), Part("text", "b"))
    call = ToolCall("ls", '{"path": "."}')
    request = Request((Message("user", parts), Message("assistant", "c", "r", (call,))), ({"type": "function"},))
    fields = [
        ("tools", 0),
        ("messages", 0, "content", 0, "text"),
        ("messages", 0, "content", 1, "text"),
        ("messages", 1, "reasoning_content"),
        ("messages", 1, "content"),
        ("messages", 1, "tool_calls", 0, "function", "name"),
        ("messages", 1, "tool_calls", 0, "function", "arguments"),
    ]

    def lost(*origins):
        return lost_fields(request, [Segment("x", Kind.USER, literal=False, origin=origin) for origin in origins])

    assert lost() == tuple(fields)
    assert lost(*fields) == ()
    assert lost(("messages", 0, "content"), ("tools", 0, "type"), *fields[3:]) == ()
    assert lost(("messages", 0), ("tools",), *fields[3:]) == tuple(fields[1:3])


def test_blank_fields_cannot_be_lost():
    request = Request((Message("user", " \n"), Message("assistant", "", reasoning=" ")))
    assert lost_fields(request, ()) == ()
