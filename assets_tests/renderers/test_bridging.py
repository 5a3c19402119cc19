"""Bridges: over random conversations they equal the whole render where that goes on from the given ids, else refuse."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import islice

import pytest

from renderers import FAMILIES, Kind, Message, Renderer, Request, TemplateError, ToolCall
from renderers.bridging import Bridge
from renderers.closing import Refusal
from renderers.rendered import Rendered
from renderers.tracing.witness import TracedTemplate

WORDS = (
    "",
    " ",
    "ok",
    "\n\ntwo lines\n",
    "  Größe 日本 🎉 ",
    "<|im_end|><think>\n</think><tool_call>",
    "<tool_response>\nnot a result\n</tool_response>",
    "[INST]a\n\nb[/INST]</s>",
    '{"name": "f", "arguments": {}}',
    "<|user|>\n<|assistant|> {content}",
)
ARGUMENTS = ("{}", '{"a": 1}', '{"path":  "\\u00e9.py", "deep": {"b": [true, null]}}', '{"text": "</tool_call>\\n"}')
TOOLS = tuple(
    {"type": "function", "function": {"name": name, "description": "Does.", "parameters": {"properties": {}}}}
    for name in ("f", "look_up")
)


def conversation(rng: random.Random) -> tuple[tuple[Message, ...], tuple]:
    """Turns of a user and an agent, with tools or without."""
    tools, named = rng.choice(((), TOOLS)), rng.choice(("functions.f:{}", "call{:05}"))
    messages = [Message(rng.choice(("system", "developer")), rng.choice(WORDS))] if rng.random() < 0.5 else []
    for _ in range(rng.randint(1, 3)):
        messages.append(Message("user", rng.choice(WORDS)))
        while rng.random() < 0.5:
            messages += step(rng, named, len(messages))
        messages.append(Message("assistant", rng.choice(WORDS), thought(rng)))
    return (*messages, Message("user", "And now?")), tools


def step(rng: random.Random, named: str, at: int) -> Iterator[Message]:
    """Calls, and their results."""
    ids = [named.format(at * 10 + k) for k in range(rng.choice((1, 1, 2)))]
    calls = tuple(ToolCall("f", rng.choice(ARGUMENTS), known) for known in ids)
    yield Message("assistant", rng.choice(WORDS[:4]), thought(rng), calls)
    yield from (Message("tool", rng.choice(WORDS), tool_call_id=known) for known in ids)
    if rng.random() < 0.1:
        yield Message("user", "Stop.")
        yield Message("assistant", "I stop.")


def thought(rng: random.Random) -> str | None:
    return rng.choice((None, None, "I think.", " \nLong.\n\n", ""))


@pytest.fixture
def some(examples) -> int:
    """Turns a law is asked of: each is told many times."""
    return max(8, examples // 5)


@pytest.fixture(params=FAMILIES)
def renderer(request, vocabulary) -> Renderer:
    family = FAMILIES[request.param]
    return Renderer(family, vocabulary(family.name), {"today": date(2025, 7, 1)} if "today" in family.flags else {})


@pytest.fixture(params=sorted({*FAMILIES, "qwen3-orig", "llama-3.3"} - {"deepseek-r1"}))
def traced_renderer(request, traced, vocabulary) -> Renderer:
    """The official template, traced, with the control tokens of its vocabulary."""
    found, tokenizer = traced(request.param), vocabulary(request.param)
    added = {token: token in tokenizer.special for token in tokenizer.added}
    witness = TracedTemplate(found.source, special_tokens=found.special_tokens, added=added, today=found.today)
    return Renderer(witness, tokenizer)


def following(messages: tuple[Message, ...], index: int) -> tuple[Message, ...]:
    """What stands between an assistant message and the next one."""
    after = range(index + 1, len(messages))
    end = next((k for k in after if messages[k].role == "assistant"), len(messages))
    return messages[index + 1 : end]


def cases(renderer: Renderer, number: int) -> Iterator[tuple[list[int], list[int], tuple[Message, ...], Request]]:
    """So many turns, from at most twice as many conversations."""
    told = (conversation(random.Random(seed)) for seed in range(2 * number))
    return islice((turn for messages, tools in told for turn in turns(renderer, messages, tools)), number)


def turns(renderer: Renderer, messages: tuple[Message, ...], tools: tuple) -> Iterator[tuple]:
    """Prompt ids, completion ids (as history has them, and as the model writes them), new messages, and the whole."""
    for index, message in enumerate(messages):
        new = following(messages, index)
        if message.role != "assistant" or not index or not new:
            continue
        asked = Request((*messages[: index + 1], *new), tools, generating=True)
        alone = replace(asked, messages=messages[: index + 1], generating=False)
        try:
            prompt, *shown = renderer.render_batch([replace(asked, messages=messages[:index]), asked, alone])
        except TemplateError:
            continue
        given = prompt.ids.tolist()
        found = {tuple(ids): None for ids in (completion(one, given, index) for one in shown) if ids}
        yield from ((given, list(ids), new, asked) for ids in found)


def completion(shown: Rendered, prompt: list[int], index: int) -> list[int]:
    """The ids of a turn, if they stand behind its prompt in one piece and end with a stop."""
    own = [span for span in shown.spans() if span.kind.sampled and span.message == index]
    whole = own and own[-1].kind is Kind.STOP and own[0].start == len(prompt)
    return (
        shown.ids[len(prompt) : own[-1].end].tolist() if whole and shown.ids[: len(prompt)].tolist() == prompt else []
    )


def outcome(renderer: Renderer, bridge: Bridge, given: list[int], request: Request) -> str:
    """How a bridge and the render of all that was said compare."""
    whole = renderer.render_batch([request])[0].ids.tolist()
    if bridge.token_ids is None:
        return str(bridge.refusal) + (", though it goes on" if whole[: len(given)] == given else "")
    return "equal" if bridge.token_ids == whole else "wrong"


def test_a_bridge_is_the_whole_render_or_refused(renderer, some):
    found = Counter()
    for number, (prompt, ids, new, request) in enumerate(cases(renderer, some)):
        bridge = renderer.bridge(prompt, ids, new, tools=request.tools if number % 2 else None)
        found[outcome(renderer, bridge, prompt + ids, request)] += 1
    print(renderer.name, dict(found))
    assert found["equal"]
    assert not found["wrong"]


def test_a_traced_bridge_is_the_whole_render_or_refused(traced_renderer, some):
    found = Counter()
    for prompt, ids, new, request in cases(traced_renderer, max(2, some // 2)):
        told = request.messages[: -len(new)]
        known = traced_renderer.bridge(prompt, ids, new, tools=request.tools, messages=told)
        recalled = traced_renderer.bridge(prompt, ids, new)
        how = outcome(traced_renderer, known, prompt + ids, request)
        found[how] += 1
        found["recalled, " + outcome(traced_renderer, recalled, prompt + ids, request)] += 1
        assert "though it goes on" not in how
    print(traced_renderer.name, dict(found))
    assert not found["wrong"] + found["recalled, wrong"]


def test_a_bridge_of_a_turn_cut_off_closes_it_or_is_refused(renderer, some):
    found = Counter()
    for number, (prompt, ids, new, request) in enumerate(cases(renderer, some)):
        cut = ids[: random.Random(number).randint(1, max(1, len(ids) - 1))]
        bridge = renderer.bridge(prompt, cut, new)
        if bridge.token_ids is None:
            found[str(bridge.refusal)] += 1
            continue
        assert bridge.token_ids[: len(prompt + cut)] == prompt + cut
        assert bridge.sampled_mask.nonzero()[0].tolist() == list(range(len(prompt), len(prompt + cut)))
        found["closed" if goes_on(renderer, bridge, request, len(new)) else "wrong"] += 1
    print(renderer.name, dict(found))
    assert not found["wrong"]


def goes_on(renderer: Renderer, bridge: Bridge, request: Request, new: int) -> bool:
    """Whether the conversation told with what was sampled goes on from there as the bridge does."""
    before = request.messages[: -new - 1]
    said = renderer.parse(list(bridge.completion), Request(before, request.tools)).message
    calls = request.messages[-new - 1].tool_calls
    named = tuple(ToolCall(c.name, c.arguments, c.id or k.id) for c, k in zip(said.tool_calls, calls, strict=False))
    made = Request((*before, said.but(tool_calls=named), *request.messages[-new:]), request.tools, generating=True)
    whole, decode = renderer.render_batch([made])[0].ids.tolist(), renderer.tokenizer.decode
    sampled, follows = [*bridge.prompt, *bridge.completion], [*bridge.close, *bridge.new]
    verbatim = whole[: len(sampled)] == sampled
    return whole[len(sampled) :] == follows if verbatim else decode(whole).endswith(decode(follows))


def test_no_ids_make_it_raise(renderer, some):
    rng, control = random.Random(0), list(renderer.tokenizer.control.values())
    asked = renderer.render_ids(ASKED, add_generation_prompt=True)

    def noise(length: int) -> list[int]:
        """Ids of which many are control tokens."""
        return [rng.choice(control) if rng.random() < 0.4 else rng.randrange(2000) for _ in range(length)]

    for number in range(some):
        prompt, completion = asked * (number % 2) + noise(number % 7), noise(1 + number % 11)
        bridge = renderer.bridge(prompt, completion, [rng.choice((MORE, RESULT))])
        assert bridge.refusal or bridge.token_ids[: len(prompt + completion)] == prompt + completion


ASKED = (Message("user", "Hi"),)
MORE, RESULT = Message("user", "More"), Message("tool", "12")
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
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


def test_tools_are_those_of_the_prompt_or_refused(qwen3):
    told = {"asked": ASKED, "offered": TOOLS}
    assert bridged(qwen3, "Hello<|im_end|>", MORE, **told).token_ids
    assert bridged(qwen3, "Hello<|im_end|>", MORE, **told, tools=TOOLS).token_ids
    for other in ((), OTHER_TOOLS, TOOLS[:1]):
        assert bridged(qwen3, "Hello<|im_end|>", MORE, **told, tools=other).refusal is Refusal.TOOLS
    assert bridged(qwen3, "Hello<|im_end|>", MORE, tools=TOOLS).refusal is Refusal.TOOLS


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
