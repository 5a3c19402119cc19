"""Completions that no template wrote: odd spacing, stray control tokens, broken calls."""

import pytest

from renderers import FAMILIES, Message, Renderer, Request, TemplateError, ToolCall

ASKED = Request((Message("user", "?"),))
CALL = '<tool_call>\n{"name": "f", "arguments": {"a":1}}\n</tool_call>'


@pytest.fixture
def renderer(example) -> Renderer:
    return Renderer(FAMILIES["qwen3"], example)


def test_text_reads_as_ids_do(renderer):
    text = f"<think>\na\n</think>\n\nb\n{CALL}\n{CALL}<|im_end|>"
    (ids,) = renderer.tokenizer.encode_batch([text], added=True)
    parsed = renderer.parse(text, ASKED)
    heard = renderer.parse(ids, ASKED)
    assert (parsed.message, parsed.ended, parsed.pieces) == (heard.message, heard.ended, heard.pieces)
    assert parsed.message == Message("assistant", "b", "a", (ToolCall("f", '{"a":1}'),) * 2)
    assert parsed.ended


def test_control_tokens_spelled_as_text_are_text(renderer):
    (data,) = renderer.tokenizer.encode_batch([f"<think>\na\n</think>\n\n{CALL}<|im_end|>"])
    parsed = renderer.parse([*data, renderer.tokenizer.control["<|im_end|>"]], ASKED)
    assert parsed.message == Message("assistant", f"<think>\na\n</think>\n\n{CALL}<|im_end|>")
    assert parsed.ended


def test_thought_that_is_spaced_otherwise_is_kept_as_it_is(renderer):
    message = renderer.parse("<think>a</think>b<|im_end|>", ASKED).message
    assert (message.reasoning, message.content) == ("a", "b")
    message = renderer.parse("<think>\n a\n</think>\nb<|im_end|>", ASKED).message
    assert (message.reasoning, message.content) == (" a\n", "\nb")


def test_thought_that_is_cut_off_is_reasoning(renderer):
    parsed = renderer.parse("<think>\nI was", ASKED)
    assert (parsed.message, parsed.ended) == (Message("assistant", "", "I was"), False)


def test_no_thought_is_none_and_an_empty_one_is_empty(renderer):
    assert renderer.parse("a<|im_end|>", ASKED).message.reasoning is None
    assert renderer.parse("<think>\n\n</think>\n\na<|im_end|>", ASKED).message.reasoning == ""


def test_what_the_prompt_holds_belongs_to_the_message(example):
    silent = Renderer(FAMILIES["qwen3"], example, {"enable_thinking": False})
    assert silent.parse("a<|im_end|>", ASKED).message == Message("assistant", "a", "")


BROKEN = {
    "<tool_call>": "unclosed",
    '<tool_call>\n{"name": "f"': "unclosed",
    '<tool_call>\n{"arguments": {}}\n</tool_call>': "missing_name",
    '<tool_call>\n{"name": 5, "arguments": {}}\n</tool_call>': "missing_name",
    '<tool_call>\n{"name": "f"}\n</tool_call>': "malformed",
    '<tool_call>\n{"name": "f", "arguments": {"a": 1}]\n</tool_call>': "invalid_json",
    "<tool_call>f()</tool_call>": "malformed",
    "Let me see.": "malformed",
}


@pytest.mark.parametrize(("broken", "status"), BROKEN.items())
def test_a_call_that_cannot_be_read_is_kept_and_spoils_no_other(renderer, broken, status):
    parsed = renderer.parse(f"a\n{CALL}\n{broken}\n{CALL}<|im_end|>", ASKED)
    assert parsed.message == Message("assistant", "a", tool_calls=(ToolCall("f", '{"a":1}'),) * 2)
    assert [(call.raw.strip(), call.status) for call in parsed.calls if not call.call] == [(broken, status)]


def test_arguments_need_not_be_json(renderer):
    text = '<tool_call>\n{"name": "f", "arguments": not json}\n</tool_call><|im_end|>'
    assert renderer.parse(text, ASKED).message.tool_calls == (ToolCall("f", "not json"),)


def test_what_follows_the_stop_is_not_the_models(renderer):
    assert renderer.parse("a<|im_end|>\n<|im_start|>user", ASKED).message == Message("assistant", "a")


def test_stray_control_tokens_are_spelled_out(renderer):
    assert renderer.parse("a</think>b<|im_start|><|im_end|>", ASKED).message.content == "a</think>b<|im_start|>"


def test_bytes_cut_in_the_middle_of_a_character_do_not_raise(renderer):
    (ids,) = renderer.tokenizer.encode_batch(["日本😀"])
    for end in range(len(ids)):
        assert not renderer.parse(ids[:end], ASKED).ended


def test_a_witness_that_only_writes_says_so(example):
    class Mute:
        name, flags = "mute", ()

        def tell(self, request):
            raise NotImplementedError

    with pytest.raises(TemplateError, match="declared family"):
        Renderer(Mute(), example).parse("a", ASKED)
