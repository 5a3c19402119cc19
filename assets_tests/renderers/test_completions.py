"""Completions as models write them, and what peers make of them otherwise."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from renderers import FAMILIES, Kind, Message, Parsed, Renderer, Request, TemplateError, ToolCall, create_renderer
from renderers.tracing.witness import TracedTemplate

ASKED = Request((Message("user", "?"),))
JSON_CALL = '<tool_call>\n{"name": "f", "arguments": %s}\n</tool_call>'
PROPERTIES = {
    "code": {"type": "string"},
    "count": {"type": "integer"},
    "flag": {"type": "boolean"},
    "maybe": {"type": ["string", "null"]},
}
TOOLS = ({"type": "function", "function": {"name": "f", "parameters": {"properties": PROPERTIES}}},)
PARAMETERS = {
    "qwen3.5": ("<tool_call>\n<function=f>\n{}</function>\n</tool_call>", "<parameter={}>\n{}\n</parameter>\n"),
    "glm-4.5": ("<tool_call>f\n{}</tool_call>", "<arg_key>{}</arg_key>\n<arg_value>{}</arg_value>\n"),
    "glm-5": ("<tool_call>f{}</tool_call>", "<arg_key>{}</arg_key><arg_value>{}</arg_value>"),
    "minimax-m2": (
        '\n<minimax:tool_call>\n<invoke name="f">\n{}</invoke>\n</minimax:tool_call>',
        '<parameter name="{}">{}</parameter>\n',
    ),
}


@pytest.fixture
def renderer(vocabulary) -> Callable[..., Renderer]:
    def made(family: str, **flags: Any) -> Renderer:
        dated = {"today": date(2025, 7, 1)} if "today" in FAMILIES[family].flags else {}
        return Renderer(FAMILIES[family], vocabulary(family), {**dated, **flags})

    return made


@pytest.fixture(params=PARAMETERS)
def called(request, renderer) -> Callable[..., Parsed]:
    """A call with these parameters, read by a family that writes one element for each."""
    call, each = PARAMETERS[request.param]

    def read(*parameters: tuple[str, str]) -> Parsed:
        text = call.format("".join(each.format(key, value) for key, value in parameters))
        ids = renderer(request.param).tokenizer.encode_batch([text], added=True)[0]
        prompt = renderer(request.param).tokenizer.encode_batch(["<think></think>"], added=True)[0]
        return renderer(request.param).parse_response(ids, tools=TOOLS, prompt_ids=prompt)

    return read


def arguments(parsed: Parsed) -> list[object]:
    return [json.loads(call.arguments) for call in parsed.message.tool_calls]


@pytest.mark.parametrize(
    "value", ["    return 1\n", "\n\n", "", " ", "\t", "12", "true", '{"a": 1}', "None", "é\u2028"]
)
def test_a_text_is_neither_stripped_nor_typed(called, value):
    parsed = called(("code", value))
    assert arguments(parsed) == [{"code": value}]
    assert [call.status for call in parsed.calls] == ["ok"]


def test_a_parameter_is_what_its_schema_says(called):
    parsed = called(("count", "5"), ("flag", "True"), ("maybe", "null"), ("other", "[1]"))
    assert arguments(parsed) == [{"count": 5, "flag": True, "maybe": None, "other": [1]}]
    assert [call.status for call in parsed.calls] == ["ok"]
    assert arguments(called(("maybe", "5"))) == [{"maybe": "5"}]


def test_a_parameter_that_its_schema_does_not_take_is_kept_and_told_of(called):
    parsed = called(("count", "five"))
    assert arguments(parsed) == [{"count": "five"}]
    assert [call.status for call in parsed.calls] == ["invalid_json"]


def test_a_parameter_that_stands_twice_is_kept_twice(called):
    parsed = called(("code", "a"), ("code", "b"))
    assert [call.arguments for call in parsed.message.tool_calls] == ['{"code": "a", "code": "b"}']
    assert [call.status for call in parsed.calls] == ["ambiguous"]
    assert not parsed.exact


def test_a_tool_that_there_is_not_is_told_of(renderer):
    text = JSON_CALL.replace('"f"', '"g"') % "{}"
    parsed = renderer("qwen3").parse(text, Request(ASKED.messages, TOOLS))
    assert [(call.call, call.status) for call in parsed.calls] == [(ToolCall("g", "{}"), "unknown_tool")]
    assert [call.status for call in renderer("qwen3").parse(text, ASKED).calls] == ["ok"]


@pytest.mark.parametrize("value", ["x</parameter>y", "a\n</parameter>\nb", "</function>", "<parameter=b>"])
def test_words_that_end_a_value_may_stand_in_it(renderer, value):
    text = f"<tool_call>\n<function=f>\n<parameter=code>\n{value}\n</parameter>\n</function>\n</tool_call>"
    parsed = renderer("qwen3.6", enable_thinking=False).parse(text, Request(ASKED.messages, TOOLS))
    assert arguments(parsed) == [{"code": value}]
    assert [call.status for call in parsed.calls] == ["ambiguous" if "</parameter>" in value else "ok"]


def test_a_control_token_in_a_value_is_told_of(renderer):
    xml = "<tool_call>\n<function=f>\n<parameter=code>\na</tool_call>b\n</parameter>\n</function>\n</tool_call>"
    for family, text in (("qwen3.6", xml), ("qwen3", JSON_CALL % '{"code": "a</tool_call>b"}')):
        qwen = renderer(family, enable_thinking=False)
        (ids,) = qwen.tokenizer.encode_batch([text], added=True)
        parsed = qwen.parse(ids, ASKED)
        assert [call.status for call in parsed.calls] == ["ambiguous"]
        assert arguments(parsed) == [{"code": "a</tool_call>b"}]
        assert (parsed.exact, parsed.calls[0].span) == (False, (0, len(ids)))


@pytest.mark.parametrize(
    ("spelled", "status"),
    [
        ('{"a": 1, "a": 2}', "ambiguous"),
        ('{"a": NaN}', "invalid_json"),
        ('{"a": 1', "invalid_json"),
        ('["a"]', "malformed"),
        ('"a"', "malformed"),
        ('{"a":1.0,  "b" : "\\u00e9"}', "ok"),
    ],
)
def test_arguments_are_kept_as_they_are_and_judged(renderer, spelled, status):
    qwen = renderer("qwen3")
    (ids,) = qwen.tokenizer.encode_batch([f"<think>\n\n</think>\n\n{JSON_CALL % spelled}<|im_end|>"], added=True)
    parsed = qwen.parse(ids, ASKED)
    assert parsed.message.tool_calls == (ToolCall("f", spelled),)
    assert [call.status for call in parsed.calls] == [status]
    assert parsed.exact


@pytest.mark.parametrize(
    "spelled",
    [
        '<tool_call>{"name":"f","arguments":{"a":  1}}</tool_call>',
        '<tool_call>\n{"arguments": {"a":  1}, "name": "f"}\n</tool_call>',
        '<tool_call>\n\n{"name": "f", "arguments": {"a":  1}, "id": null}\n</tool_call>',
        '<tool_call>\n{"name": "f", "parameters": {"a":  1}}\n</tool_call>',
    ],
)
def test_a_call_in_other_words_is_read_and_not_exact(renderer, spelled):
    parsed = renderer("qwen3").parse(spelled + "<|im_end|>", ASKED)
    assert parsed.message.tool_calls == (ToolCall("f", '{"a":  1}'),)
    assert ([call.status for call in parsed.calls], parsed.exact) == (["ok"], False)


def test_parameters_in_other_spacing_are_read(renderer):
    text = "<tool_call><function=f><parameter=code> a\n</parameter></function></tool_call>"
    parsed = renderer("qwen3.5", enable_thinking=False).parse(text, Request(ASKED.messages, TOOLS))
    assert arguments(parsed) == [{"code": " a"}]
    assert not parsed.exact


def test_content_is_not_stripped_and_text_between_calls_is_kept(renderer):
    call = JSON_CALL % "{}"
    parsed = renderer("qwen3").parse(f"  x\n\n{call}\nThen.\n{call} Done.<|im_end|>", ASKED)
    assert parsed.content == "  x\n"
    assert [(c.raw.strip(), c.status) for c in parsed.calls] == [
        (call, "ok"),
        ("Then.", "malformed"),
        (call, "ok"),
        ("Done.", "malformed"),
    ]
    assert "".join(text for _, text in parsed.pieces) == f"  x\n\n{call}\nThen.\n{call} Done.<|im_end|>"


def test_a_call_drafted_in_a_thought_is_no_call(renderer):
    call = JSON_CALL % "{}"
    parsed = renderer("qwen3").parse(f"<think>\n{call}\n</think>\n\nNo.<|im_end|>", ASKED)
    assert (parsed.message.tool_calls, parsed.content, parsed.reasoning_content) == ((), "No.", call)
    assert not renderer("qwen3").parse(f"<think>\n{call}", ASKED).message.tool_calls


def test_a_call_ends_a_thought_that_is_never_closed(renderer):
    parsed = renderer("qwen3").parse(f"<think>\nI call.\n{JSON_CALL % '{}'}<|im_end|>", ASKED)
    assert (parsed.reasoning_content, parsed.message.tool_calls) == ("I call.\n", (ToolCall("f", "{}"),))
    assert not parsed.exact


def test_glm_may_answer_without_a_thought(renderer):
    parsed = renderer("glm-4.5").parse("\nHello<|user|>", ASKED)
    assert (parsed.content, parsed.reasoning_content, parsed.ended) == ("Hello", None, True)


def test_an_answer_in_json_is_no_call(renderer):
    for answer in ('{"name": "Bob"}', 'As {"name": "f", "parameters": {}}', '{"name": "f"} or so'):
        parsed = renderer("llama-3.1").parse(answer + "<|eot_id|>", ASKED)
        assert (parsed.content, parsed.calls) == (answer, ())
    for spelled in ('{"name": "f", "parameters": {}}', '{"name": "f",\n"parameters": {}}'):
        assert renderer("llama-3.1").parse(spelled + "<|eot_id|>", ASKED).message.tool_calls == (ToolCall("f", "{}"),)
    cut_off = renderer("llama-3.1").parse('{"name": "f", "parameters": {"a": {"b": 1', ASKED)
    assert [(call.call, call.status) for call in cut_off.calls] == [(None, "unclosed")]


def test_harmony_speaks_before_it_calls(renderer):
    said = "<|channel|>analysis<|message|>r<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
    call = '<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>'
    parsed = renderer("gpt-oss").parse(said + call, ASKED)
    assert parsed.message == Message("assistant", "I look.", "r", (ToolCall("f", '{"a": 1}'),))
    assert ([call.status for call in parsed.calls], parsed.ended, parsed.exact) == (["ok"], True, False)
    assert renderer("gpt-oss").parse(said, ASKED).content == "I look."


@pytest.mark.parametrize("thought", ["", "<|channel|>analysis<|message|>r<|end|><|start|>assistant"])
def test_words_of_the_template_that_are_cut_off_are_no_content(renderer, thought):
    harmony = renderer("gpt-oss")
    for words in ("<|channel|>final<|message|>", " to=functions.f", "<|channel|>commentary<|message|>"):
        (ids,) = harmony.tokenizer.encode_batch([thought + words], added=True)
        for end in range(len(harmony.tokenizer.encode_batch([thought], added=True)[0]), len(ids)):
            parsed = harmony.parse(ids[:end], ASKED)
            assert (parsed.content, parsed.ended) == ("", False)
            assert all(call.status == "unclosed" for call in parsed.calls)


def test_a_call_without_its_end_is_not_made(renderer):
    for text in (JSON_CALL[:-12] % "{}", (JSON_CALL % "{}")[:-12] + "<|im_end|>"):
        parsed = renderer("qwen3").parse(text, ASKED)
        assert (parsed.message.tool_calls, [call.status for call in parsed.calls]) == ((), ["unclosed"])


def test_the_prompt_tells_whether_a_thought_is_open(renderer):
    qwen = renderer("qwen3.5")
    prompts = {
        thinking: renderer("qwen3.5", enable_thinking=thinking).render_ids(ASKED.messages, add_generation_prompt=True)
        for thinking in (True, False)
    }
    (ids,) = qwen.tokenizer.encode_batch(["a\n</think>\n\nb<|im_end|>"], added=True)
    for prompt in (None, prompts[True]):
        parsed = qwen.parse_response(ids, prompt_ids=prompt)
        assert (parsed.reasoning_content, parsed.content, parsed.exact) == ("a", "b", True)
    (ids,) = qwen.tokenizer.encode_batch(["b<|im_end|>"], added=True)
    parsed = qwen.parse_response(ids, prompt_ids=prompts[False])
    assert (parsed.reasoning_content, parsed.content, parsed.exact) == ("", "b", True)
    assert qwen.parse_response(ids).reasoning_content == "b"


def test_what_a_user_has_begun_for_the_model_belongs_to_the_message(renderer):
    qwen = renderer("qwen3")
    prompt = qwen.render_ids(ASKED.messages, add_generation_prompt=True)
    begun, said = qwen.tokenizer.encode_batch(["<think>\nI see", " it.\n</think>\n\nSure.<|im_end|>"], added=True)
    parsed = qwen.parse_response(said, prompt_ids=prompt + begun)
    assert (parsed.reasoning_content, parsed.content) == ("I see it.", "Sure.")
    assert "".join(text for _, text in parsed.pieces) == " it.\n</think>\n\nSure.<|im_end|>"


def test_a_model_that_goes_on_behind_results_has_no_thought_open(renderer):
    deepseek = renderer("deepseek-v3.1")
    call = Message("assistant", "", tool_calls=(ToolCall("f", "{}"),))
    prompt = deepseek.render_ids([*ASKED.messages, call, Message("tool", "r")], add_generation_prompt=True)
    parsed = deepseek.parse_response(deepseek.tokenizer.encode_batch(["c"])[0], prompt_ids=prompt)
    assert (parsed.content, parsed.reasoning_content) == ("c", None)


def test_calls_are_given_in_the_shape_of_the_hub(renderer):
    parsed = renderer("qwen3").parse(JSON_CALL % '{"a":1}', ASKED)
    assert parsed.tool_calls == [{"type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]
    assert renderer("qwen3").parse("a", ASKED).tool_calls == []


STOPS = {
    "qwen3": ["<|im_end|>", "<|endoftext|>"],
    "glm-5": ["<|endoftext|>", "<|user|>", "<|observation|>"],
    "gpt-oss": ["<|return|>", "<|call|>"],
    "llama-3.1": ["<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"],
    "mistral-nemo": ["</s>"],
}


@pytest.mark.parametrize(("family", "stops"), STOPS.items())
def test_a_turn_may_end_with_any_stop(renderer, family, stops):
    one = renderer(family)
    ids = one.get_stop_token_ids()
    assert ids == [one.tokenizer.control[stop] for stop in stops]
    said = one.tokenizer.encode_batch(["\nHello"])[0]
    for stop in ids:
        parsed = one.parse_response([*said, stop, *said], prompt_ids=[])
        assert parsed.ended
        assert [kind for kind, _ in parsed.pieces][-2:] == [Kind.STOP, Kind.SCAFFOLD]
        assert not parsed.exact


TRACED = {
    "qwen3": {"<|im_end|>"},
    "glm-5": {"<|endoftext|>", "<|user|>", "<|observation|>"},
    "gpt-oss": {"<|return|>", "<|call|>"},
    "llama-3.1": {"<|eot_id|>"},
    "gemma-4": {"<turn|>", "<|tool_response>", "<eos>"},
}


@pytest.mark.parametrize(("family", "stops"), TRACED.items())
def test_a_traced_template_is_asked_what_its_turns_end_with(load, family, stops):
    """Not what ends an answer of gpt-oss in history: a model that stops there never gets past its thought."""
    tokenizer = load(family)
    found = create_renderer(tokenizer, "traced", today=date(2025, 7, 1)).get_stop_token_ids()
    told = set(map(tokenizer.token_text, found)) - {"<|system|>", "<|assistant|>"}  # of GLM: whoever speaks next
    assert told == stops


def test_a_template_whose_eos_token_ends_no_turn_is_stopped_all_the_same(example):
    """As of many who train a base model on ChatML."""
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    added = {token: token in example.special for token in example.added}
    witness = TracedTemplate(source, special_tokens={"eos_token": "<|endoftext|>"}, added=added)
    assert Renderer(witness, example).get_stop_token_ids()[0] == example.control["<|im_end|>"]


def test_a_template_that_tells_nothing_is_stopped_by_the_eos_token(tiny, example):
    class Mute:
        name, flags = "mute", ()

        def tell(self, request):
            raise TemplateError("this one never speaks")

    assert Renderer(Mute(), tiny).get_stop_token_ids() == [tiny.control["<|im_end|>"]]


def test_ids_that_are_none_are_no_text(renderer):
    for token in (-100, -1, 10**9, 2**40):
        assert renderer("qwen3").parse([token], ASKED).content == "\ufffd"
