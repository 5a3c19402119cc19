"""Messages in and out of the Hub's dict shape."""

import msgspec
import pytest

from renderers.hub import from_hub, to_hub
from renderers.messages import Message, Part, ToolCall


def read(**fields: object) -> Message:
    return from_hub([{"role": "assistant", **fields}])[0]


def test_what_is_written_is_read_back():
    messages = (
        Message("system", "a"),
        Message("user", (Part("text", "b"), Part("image")), name="Bob"),
        Message("assistant", "c", "r", (ToolCall("f", '{"x":  1}', "1"), ToolCall("g", "{broken"))),
        Message("tool", "d", tool_call_id="1", name="f"),
        Message("assistant", "e", weight=0.5),
    )
    assert from_hub(to_hub(messages)) == messages


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_found_under_each_of_its_names(field):
    assert read(content="a", **{field: "r"}).reasoning == "r"
    assert read(content="a", **{field: None}).reasoning is None


def test_reasoning_content_comes_before_its_other_names():
    assert read(thinking="c", reasoning="b", reasoning_content="a").reasoning == "a"


@pytest.mark.parametrize("field", ["weight", "train", "trainable", "loss", "loss_mask"])
@pytest.mark.parametrize(("said", "weight"), [(True, 1), (False, 0), (1, 1), (0, 0), (0.5, 0.5), (None, None)])
def test_a_weight_is_found_under_each_of_its_names(field, said, weight):
    assert read(content="a", **{field: said}).weight == weight


def test_names_of_a_weight_may_say_the_same_and_no_two_things():
    assert read(train=False, loss_mask=0, weight=0.0).weight == 0
    with pytest.raises(msgspec.ValidationError, match=r"weight=1, train=False: which of them"):
        read(train=False, weight=1)


@pytest.mark.parametrize("said", [-1, float("inf"), float("nan"), "yes", [1, 0]])
def test_what_is_no_weight_is_refused_under_its_own_name(said):
    with pytest.raises(msgspec.ValidationError, match="loss_mask="):
        read(loss_mask=said)


def test_arguments_that_are_text_stay_byte_for_byte():
    assert read(tool_calls=[{"function": {"name": "f", "arguments": '{"a":1 }'}}]).tool_calls[0].arguments == '{"a":1 }'


def test_arguments_that_are_an_object_are_spelled_as_jinja_spells_them():
    call = {"name": "f", "arguments": {"é": [1, None]}}
    assert read(tool_calls=[call]).tool_calls == (ToolCall("f", '{"é": [1, null]}'),)


def test_absent_content_is_empty_and_a_mapping_is_json():
    assert read().content == ""
    assert read(content=None).content == ""
    assert read(content={"a": True}).content == '{"a": true}'


@pytest.mark.parametrize("message", [{"role": "robot"}, {"role": "user", "content": 3}, {"content": "a"}])
def test_what_is_no_message_is_refused(message):
    with pytest.raises(msgspec.ValidationError):
        from_hub([message])


def test_an_empty_text_part_still_has_its_text():
    told = to_hub([Message("user", (Part("text"), Part("image")))])
    assert told[0]["content"] == [{"type": "text", "text": ""}, {"type": "image"}]
