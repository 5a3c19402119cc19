"""Bridges: over random conversations they equal the whole render where that goes on from the given ids, else refuse."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import islice

import pytest

from renderers import FAMILIES, Kind, Message, Renderer, Request, TemplateError, ToolCall
from renderers.bridging import Bridge
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
        alone = asked.but(messages=messages[: index + 1], generating=False)
        try:
            prompt, *shown = renderer.render_batch([asked.but(messages=messages[:index]), asked, alone])
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


def test_a_bridge_is_the_whole_render_or_refused(renderer, some, tally):
    found = Counter()
    for number, (prompt, ids, new, request) in enumerate(cases(renderer, some)):
        bridge = renderer.bridge(prompt, ids, new, tools=request.tools if number % 2 else None)
        found[outcome(renderer, bridge, prompt + ids, request)] += 1
    tally(renderer.name, "bridged: equal, refused", [found["equal"], found.total() - found["equal"]])
    assert found["equal"]
    assert not found["wrong"]


def test_a_traced_bridge_is_the_whole_render_or_refused(traced_renderer, some, tally, request):
    found = Counter()
    for prompt, ids, new, asked in cases(traced_renderer, max(2, some // 2)):
        told = asked.messages[: -len(new)]
        known = traced_renderer.bridge(prompt, ids, new, tools=asked.tools, messages=told)
        recalled = traced_renderer.bridge(prompt, ids, new)
        how = outcome(traced_renderer, known, prompt + ids, asked)
        found[how] += 1
        found["recalled, " + outcome(traced_renderer, recalled, prompt + ids, asked)] += 1
        assert "though it goes on" not in how
    told, family = found.total() // 2, request.node.callspec.params["traced_renderer"]
    tally(family, "traced: equal, refused", [found["equal"], told - found["equal"]])
    assert not found["wrong"] + found["recalled, wrong"]


def test_a_bridge_of_a_turn_cut_off_closes_it_or_is_refused(renderer, some, tally):
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
    tally(renderer.name, "cut off: closed, refused", [found["closed"], found.total() - found["closed"]])
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
    asked = renderer.render_ids((Message("user", "Hi"),), add_generation_prompt=True)

    def noise(length: int) -> list[int]:
        """Ids of which many are control tokens."""
        return [rng.choice(control) if rng.random() < 0.4 else rng.randrange(2000) for _ in range(length)]

    for number in range(some):
        prompt, completion = asked * (number % 2) + noise(number % 7), noise(1 + number % 11)
        bridge = renderer.bridge(prompt, completion, [rng.choice((Message("user", "More"), Message("tool", "12")))])
        assert bridge.refusal or bridge.token_ids[: len(prompt + completion)] == prompt + completion
