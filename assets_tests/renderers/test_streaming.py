"""Completions read while they are sampled: what is known when, and at what cost."""

from time import process_time

import pytest

from renderers import FAMILIES, Kind, Message, Renderer, Request, ToolCall

ASKED = Request((Message("user", "?"),))
JSON_CALL = '<tool_call>\n{"name": "f", "arguments": %s}\n</tool_call>'
PARAMETER_CALL = "<tool_call>\n<function=f>\n</function>\n</tool_call>"


@pytest.fixture
def qwen(example) -> Renderer:
    return Renderer(FAMILIES["qwen3"], example)


def test_characters_are_heard_when_they_are_complete(qwen):
    (ids,) = qwen.tokenizer.encode_batch(["a日本😀é"])
    listening = qwen.listen(ASKED)
    heard = [text for token in ids for _, text in listening.feed([token])]
    assert not any("\ufffd" in text for text in heard)
    assert listening.close().content == "a日本😀é"


def test_a_stream_tells_each_text_as_soon_as_it_is_sure(qwen):
    (ids,) = qwen.tokenizer.encode_batch([f"<think>\nI see.\n</think>\n\nHello there\n{JSON_CALL % '{}'}"], added=True)
    listening, heard = qwen.listen(ASKED), list[tuple[Kind, str]]()
    for number, token in enumerate(ids):
        heard += listening.feed([token])
        if number == len(ids) // 2:
            assert listening.parsed == qwen.parse(ids[: number + 1], ASKED)
    joined = {kind: "".join(text for k, text in heard if k is kind) for kind, _ in heard}
    assert joined == {
        Kind.REASONING: "<think>\nI see.\n</think>\n\n",
        Kind.ANSWER: "Hello there",
        Kind.TOOL_CALL: f"\n{JSON_CALL % '{}'}",
    }
    assert listening.close().message.tool_calls == (ToolCall("f", "{}"),)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_section_ends_a_call_that_does_not_end_itself(vocabulary, size):
    deepseek = Renderer(FAMILIES["deepseek-v3.2"], vocabulary("deepseek-v3.2"))
    section = "\n\n<｜DSML｜function_calls>\n{}</｜DSML｜function_calls><｜end▁of▁sentence｜>"
    call = '<｜DSML｜invoke name="f">\n</｜DSML｜invokeinvoke>\n'
    (ids,) = deepseek.tokenizer.encode_batch([section.format(call)], added=True)
    listening = deepseek.listen(ASKED)
    for at in range(0, len(ids), size):
        listening.feed(ids[at : at + size])
    assert [(one.raw, one.status) for one in listening.calls] == [(call, "unclosed")]
    assert listening.close() == deepseek.parse(ids, ASKED)


def test_a_call_is_known_before_the_message_ends(vocabulary):
    for family, text in (("qwen3", JSON_CALL % "{}"), ("qwen3.5", PARAMETER_CALL)):
        one = Renderer(FAMILIES[family], vocabulary(family), {"enable_thinking": False})
        listening = one.listen(ASKED)
        listening.feed(one.tokenizer.encode_batch([text], added=True)[0])
        assert [call.status for call in listening.calls] == ["ok"]


HOSTILE = {
    "one long argument": (JSON_CALL[:-14] % '{"a": "', " word"),
    "braces": (JSON_CALL[:-14] % "", "{"),
    "ends that are none": (JSON_CALL[:-14] % '{"a": "', "}\n</tool_call>"),
    "calls": ("", JSON_CALL % "{}"),
    "empty calls": ("", "<tool_call>"),
    "blanks": ("", "\n"),
    "thoughts": ("", "<think>"),
    "stops": ("", "<|im_end|>"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_long_stream_costs_no_more_a_token_than_a_short_one(qwen, name):
    begun, again = qwen.tokenizer.encode_batch(HOSTILE[name], added=True)

    def cost(length: int) -> float:
        ids = (begun + again * (length // len(again) + 1))[:length]
        listening, start = qwen.listen(ASKED), process_time()
        for token in ids:
            listening.feed([token])
        listening.close()
        return (process_time() - start) / length

    cost(100)
    assert cost(16_000) < 5 * min(cost(1_000) for _ in range(3))
