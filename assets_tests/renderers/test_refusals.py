"""Bridges one by one: what is refused, for which reason, and how a turn is closed."""

from datetime import date

import pytest

from renderers import FAMILIES, Message, Renderer, ToolCall
from renderers.bridging import Bridge
from renderers.closing import Refusal

TOOLS = tuple(
    {"type": "function", "function": {"name": name, "description": "Does.", "parameters": {"properties": {}}}}
    for name in ("f", "look_up")
)
ASKED = (Message("user", "Hi"),)
MORE, RESULT = Message("user", "More"), Message("tool", "12")
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
DATED = [name for name, family in FAMILIES.items() if "today" in family.flags]
AMONG_WORDS = ("llama-3.1", "llama-3.2", "gemma-4")
"""Families that tell tools in a turn that may tell a message, too: from ids alone, nobody knows where they end."""
OTHER_TOOLS = ({"type": "function", "function": {"name": "g"}},)


@pytest.fixture
def qwen3(example) -> Renderer:
    return Renderer(FAMILIES["qwen3"], example)


def bridged(renderer: Renderer, completion: str, *new: Message, **given) -> Bridge:
    (ids,) = renderer.tokenizer.encode_batch([completion], added=True)
    prompt = renderer.render_ids(given.pop("asked", ASKED), given.pop("offered", None), add_generation_prompt=True)
    return renderer.bridge(prompt, ids, new, **given)


@pytest.mark.parametrize(
    ("completion", "new", "refusal"),
    [
        ("<think>\nhm<|im_end|>", MORE, Refusal.OPEN_REASONING),
        ("<think>\nhm<|im_end|>", RESULT, Refusal.OPEN_REASONING),
        ("<think>\nhm\n</think>\n\nHello<|im_end|>", MORE, Refusal.HISTORY),
        ("Hello<|im_end|>\n", MORE, Refusal.AFTER_CLOSE),
        ("Hello<|im_end|><|endoftext|>", MORE, Refusal.AFTER_CLOSE),
        ("Hello<|endoftext|>", MORE, Refusal.OTHER_STOP),
        ("Hello<|im_start|> there<|im_end|>", MORE, Refusal.UNREADABLE),
        (CALL[:30], RESULT, Refusal.CALL_CUT),
        (CALL[:30] + "<|im_end|>", RESULT, Refusal.CALL_CUT),
        ("", MORE, Refusal.EMPTY_COMPLETION),
        ("Hello<|im_end|>", Message("assistant", "No, I"), Refusal.ASSISTANT),
    ],
)
def test_what_cannot_be_extended_is_refused_with_a_reason(qwen3, completion, new, refusal):
    bridge = bridged(qwen3, completion, new)
    assert (bridge.refusal, bridge.token_ids) == (refusal, None)
    assert len(bridge.sampled_mask) == 0


def test_new_messages_that_are_no_text_or_have_no_words_are_refused(qwen3, vocabulary):
    assert bridged(qwen3, "Hello<|im_end|>", Message("user", "\ud800")).refusal is Refusal.UNTELLABLE
    gemma = Renderer(FAMILIES["gemma-3"], vocabulary("gemma-3"))
    assert bridged(gemma, "Hello<end_of_turn>", RESULT).refusal is Refusal.UNTELLABLE


def test_nothing_new_is_nothing_to_extend_by(qwen3):
    assert bridged(qwen3, "Hello<|im_end|>").refusal is Refusal.NOTHING_NEW


def test_padding_is_refused_and_named(qwen3):
    (said,) = qwen3.tokenizer.encode_batch(["Hello<|im_end|>"], added=True)
    prompt = qwen3.render_ids(ASKED, add_generation_prompt=True)
    for given in (([-1, *prompt], said), (prompt, [*said, -100])):
        bridge = qwen3.bridge(*given, [MORE])
        assert (bridge.refusal, bridge.note) == (Refusal.UNREADABLE, "an id below 0, as padding is: leave it out")


def test_tools_are_those_of_the_prompt_or_refused(qwen3):
    told = {"asked": ASKED, "offered": TOOLS}
    assert bridged(qwen3, "Hello<|im_end|>", MORE, **told).token_ids
    assert bridged(qwen3, "Hello<|im_end|>", MORE, **told, tools=TOOLS).token_ids
    for other in ((), OTHER_TOOLS, TOOLS[:1]):
        assert bridged(qwen3, "Hello<|im_end|>", MORE, **told, tools=other).refusal is Refusal.TOOLS
    assert bridged(qwen3, "Hello<|im_end|>", MORE, tools=TOOLS).refusal is Refusal.TOOLS


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("asked", [ASKED, (Message("system", "Be kind."), *ASKED)])
def test_fewer_tools_than_the_prompt_tells_are_other_tools(family, asked, known, vocabulary):
    renderer = Renderer(FAMILIES[family], vocabulary(family), {"today": date(2025, 7, 1)} if family in DATED else {})
    told = [renderer.render_ids(asked, tools, add_generation_prompt=True) for tools in (TOOLS, TOOLS[:1])]
    (said,) = renderer.tokenizer.encode_batch(["Hello"], added=True)
    said += renderer.get_stop_token_ids()[:1]
    for offered in (TOOLS[:1], TOOLS[1:]):
        bridge = renderer.bridge(told[0], said, [MORE], tools=offered, messages=asked if known else None)
        if known or family not in AMONG_WORDS:
            assert (bridge.refusal is Refusal.TOOLS) == (told[0] != told[1]), bridge


def test_messages_that_the_caller_still_has_are_those_of_the_prompt_or_refused(qwen3):
    told = {"asked": ASKED, "offered": TOOLS, "messages": ASKED}
    recalled = bridged(qwen3, "Hello<|im_end|>", MORE, asked=ASKED, offered=TOOLS)
    for tools in (None, TOOLS):
        assert bridged(qwen3, "Hello<|im_end|>", MORE, **told, tools=tools) == recalled
    assert bridged(qwen3, "Hello<|im_end|>", MORE, **told, tools=OTHER_TOOLS).refusal is Refusal.TOOLS
    silent = Renderer(qwen3.witness, qwen3.tokenizer, {"enable_thinking": False})
    prompt = qwen3.render_ids(ASKED, add_generation_prompt=True)
    ids = qwen3.tokenizer.encode_batch(["Hello<|im_end|>"], added=True)[0]
    assert silent.bridge(prompt, ids, [MORE], messages=ASKED).refusal is Refusal.UNREADABLE


def test_sampled_ids_stay_however_they_are_spelled(qwen3):
    spelled = "<think>\n\n hm </think>\n" + CALL.replace("{}", '{"a":1,  "b":false}') + "\n<|im_end|>"
    bridge = bridged(qwen3, spelled, RESULT)
    told = qwen3.tokenizer.decode(bridge.token_ids)
    assert spelled + "\n<|im_start|>user\n<tool_response>\n12\n</tool_response><|im_end|>\n" in told


def test_a_thought_cut_off_is_closed_as_scaffold(qwen3):
    bridge = bridged(qwen3, "<think>\nI was", RESULT)
    assert qwen3.tokenizer.decode(bridge.close) == "\n</think>\n\n<|im_end|>"
    assert bridge.sampled_mask.sum() == len(bridge.completion)


def test_reasoning_of_the_prompt_counts_too(qwen3):
    """The turn itself holds no thought, but an earlier step of it does, which history drops."""
    step = (*ASKED, Message("assistant", "", "hm", (ToolCall("f", "{}"),)), RESULT)
    assert bridged(qwen3, "Hello<|im_end|>", MORE, asked=step).refusal is Refusal.HISTORY
    assert bridged(qwen3, CALL + "<|im_end|>", RESULT, asked=step).token_ids


def test_the_seeds_name_gives_ids_or_none(qwen3):
    prompt = qwen3.render_ids(ASKED, add_generation_prompt=True)
    (ids,) = qwen3.tokenizer.encode_batch(["Hello<|im_end|>"], added=True)
    told = [{"role": "user", "content": "More"}]
    assert qwen3.bridge_to_next_turn(prompt, ids, told) == qwen3.bridge(prompt, ids, told).token_ids
    assert qwen3.bridge_to_next_turn(prompt, [], told) is None


def test_a_prompt_of_another_template_is_refused(qwen3):
    assert qwen3.bridge(qwen3.tokenizer.encode_batch(["<|im_end|>Hi"], added=True)[0], [1], [MORE]).refusal


@pytest.fixture
def harmony(vocabulary) -> Renderer:
    return Renderer(FAMILIES["gpt-oss"], vocabulary("gpt-oss"), {"today": date(2025, 7, 1)})


def test_gpt_oss_returns_are_no_history(harmony):
    """History ends an answer with `<|end|>`: without the stop that the model sampled, the bridge writes that."""
    final = "<|channel|>final<|message|>Hello"
    assert bridged(harmony, final + "<|return|>", MORE).refusal is Refusal.OTHER_STOP
    assert harmony.tokenizer.decode(bridged(harmony, final, MORE).close) == "<|end|>"
    thought = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
    assert bridged(harmony, thought + final + "<|return|>", MORE).refusal is Refusal.HISTORY
    assert bridged(harmony, thought + final, MORE).refusal is Refusal.HISTORY


def test_gpt_oss_goes_on_behind_a_call_as_the_model_spells_it(harmony):
    call = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
    bridge = bridged(harmony, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant" + call, RESULT)
    assert harmony.tokenizer.decode(bridge.new).startswith("<|start|>functions.f to=assistant")


def test_glm_stops_with_the_role_that_follows(vocabulary):
    renderer = Renderer(FAMILIES["glm-4.5"], vocabulary("glm-4.5"))
    said = "\n<think></think>\nHello"
    assert bridged(renderer, said + "<|user|>", MORE).close == ()
    assert renderer.tokenizer.decode(bridged(renderer, said, MORE).close) == "<|user|>"
    assert bridged(renderer, said + "<|user|>", RESULT).refusal is Refusal.OTHER_STOP
    assert bridged(renderer, said + "<|endoftext|>", MORE).refusal is Refusal.OTHER_STOP
    thought = "\n<think>hm</think>\nHello"
    assert bridged(renderer, thought + "<|user|>", MORE).refusal is Refusal.HISTORY
    assert bridged(renderer, thought + "<|observation|>", RESULT).token_ids


def test_results_of_calls_that_nobody_made_are_refused(vocabulary):
    renderer = Renderer(FAMILIES["kimi-k2"], vocabulary("kimi-k2"))
    call = "functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|><|im_end|>"
    said = "<|tool_calls_section_begin|><|tool_call_begin|>" + call
    assert bridged(renderer, said, answering("functions.f:0")).token_ids
    assert bridged(renderer, said, answering("another")).refusal is Refusal.UNKNOWN


def answering(known: str) -> Message:
    return RESULT.but(tool_call_id=known)


@pytest.mark.parametrize(
    ("family", "flags", "stable"),
    [
        ("qwen2.5", {}, True),
        ("llama-3", {}, True),
        ("qwen3.8", {}, True),
        ("qwen3", {}, False),
        ("gpt-oss", {"today": date(2025, 7, 1)}, False),
        ("kimi-k2-thinking", {}, False),
        ("glm-4.7-flash", {}, False),
        ("glm-4.7-flash", {"clear_thinking": False}, True),
    ],
)
def test_a_template_is_prefix_stable_if_history_stays_as_it_was(vocabulary, family, flags, stable):
    assert Renderer(FAMILIES[family], vocabulary(family), flags).is_prefix_stable is stable


def test_braces_of_a_message_are_not_taken_for_tools(official_template, vocabulary):
    """What GLM writes before a tool begins with `{"`."""
    renderer = Renderer(official_template("glm-5.2"), vocabulary("glm-5.2"))
    asked = (Message("user", 'Say {"a": 1}'),)
    told = bridged(renderer, "</think>Hello<|user|>", MORE, asked=asked, messages=asked, tools=())
    assert told.refusal is not Refusal.TOOLS
    assert bridged(
        renderer, "</think>Hello<|user|>", MORE, asked=asked, offered=TOOLS, messages=asked, tools=()
    ).refusal


def test_results_are_refused_that_hang_on_calls_which_nothing_reads(official_template, vocabulary):
    """This template opens results behind calls, and what a turn says is text to it, unless the caller knows better."""
    renderer = Renderer(official_template("deepseek-v3.2"), vocabulary("deepseek-v3.2"), {"thinking": True})
    asked = (Message("user", "Look."),)
    call = Message("assistant", "", tool_calls=(ToolCall("f", "{}", "a"),))
    written = renderer.render((*asked, call), tools=TOOLS)
    prompt = renderer.render_ids(asked, tools=TOOLS, add_generation_prompt=True)
    completion, result = written.token_ids[len(prompt) :], (Message("tool", "R", tool_call_id="a"),)
    whole = renderer.render_ids((*asked, call, *result), tools=TOOLS, add_generation_prompt=True)
    assert renderer.bridge(prompt, completion, result, messages=(*asked, call), tools=TOOLS).token_ids == whole
    assert renderer.bridge(prompt, completion, result, tools=TOOLS).refusal is Refusal.UNKNOWN
