"""Messages in and out of the Hub's dict shape."""

from datetime import date
from typing import cast

import pytest

from renderers import FAMILIES, Renderer, TemplateError, Tokenizer
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
    with pytest.raises(TemplateError, match=r"message 0: .* weight=1, train=False: which of them"):
        read(train=False, weight=1)


@pytest.mark.parametrize("said", [-1, float("inf"), float("nan"), "yes", [1, 0]])
def test_what_is_no_weight_is_refused_under_its_own_name(said):
    with pytest.raises(TemplateError, match="loss_mask="):
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


def call(**fields: object) -> dict[str, object]:
    return {"role": "assistant", "tool_calls": [fields]}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "robot"}, r"`\$.role`; a message has a role \(system, developer, user, assistant, tool\), content"),
        ({"role": "user", "content": 3}, r"`\$.content`; a message has a role"),
        ({"content": "a"}, "field `role`; a message has a role"),
        ("a", "is str 'a', and no mapping: a message has a role"),
        (call(id="1"), r"tool_calls\[0\] has no name and arguments: {'id': '1'}"),
        (call(function={"name": "f"}), r"tool_calls\[0\] has no name and arguments: .*'name': 'f'"),
        (call(name="f", arguments={"day": date(2025, 1, 1)}), "date is not JSON serializable"),
        ({"role": "assistant", "content": None, "refusal": "I can't."}, "refusal .* write it as content"),
    ],
)
def test_what_is_no_message_is_refused_by_its_place_and_field(message, told):
    with pytest.raises(TemplateError, match=f"^message 1.*{told}"):
        from_hub([{"role": "user", "content": "a"}, message])


def test_what_is_too_deep_or_holds_itself_is_refused():
    inside: list = []
    for _ in range(5000):
        inside = [inside]
    circle: dict = {}
    circle["a"] = circle
    for arguments in ({"a": inside}, circle):
        with pytest.raises(TemplateError, match=r"^message 0: (maximum recursion|Circular)"):
            from_hub([call(name="f", arguments=arguments)])
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string", "enum": inside}}}}
    for family in ("qwen3", "qwen3.5", "kimi-k2.5", "nemotron-3-nano", "gpt-oss"):
        renderer = Renderer(
            FAMILIES[family], cast(Tokenizer, None), {"today": date(2025, 7, 1)} if "oss" in family else {}
        )
        with pytest.raises(TemplateError, match="nested too deep"):
            renderer.stream(renderer.request([{"role": "user", "content": "a"}], [tool]))


def test_a_call_from_before_there_were_tools_is_a_call():
    assert read(function_call={"name": "f", "arguments": "{}"}).tool_calls == (ToolCall("f", "{}"),)
    asked = {"function_call": {"name": "g", "arguments": "{}"}, "tool_calls": [{"name": "f", "arguments": "{}"}]}
    assert [known.name for known in read(**asked).tool_calls] == ["f"]


def test_messages_stay_as_they_are_among_dicts():
    assert from_hub([Message("user", "a"), {"role": "assistant", "content": "b"}]) == (
        Message("user", "a"),
        Message("assistant", "b"),
    )


def test_an_empty_text_part_still_has_its_text():
    told = to_hub([Message("user", (Part("text"), Part("image")))])
    assert told[0]["content"] == [{"type": "text", "text": ""}, {"type": "image"}]
