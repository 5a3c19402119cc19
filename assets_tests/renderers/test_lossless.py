"""Laws of reading back, of every declared family: what it writes, what a model makes of that, and noise."""

import json
import random
from collections.abc import Callable
from datetime import date
from itertools import cycle, islice

import pytest

from renderers import (
    FAMILIES,
    Family,
    Kind,
    Message,
    Parsed,
    Renderer,
    Request,
    TemplateError,
    TokenizerError,
    ToolCall,
)
from renderers.messages import Turn

USER, RESULT = Message("user", "Hi"), Message("tool", "Done.", tool_call_id="a" * 9)
CONTEXTS = ((USER,), (USER, Message("assistant", tool_calls=(ToolCall("f", "{}", "a" * 9),)), RESULT))
SCHEMA = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "flag": {"type": "boolean"},
    "list": {"type": "array"},
    "map": {"type": "object"},
    "maybe": {"type": ["string", "null"]},
}
TOOLS = tuple({"type": "function", "function": {"name": n, "parameters": {"properties": SCHEMA}}} for n in "fg")
TEXTS = (
    "",
    "a",
    " a ",
    "\n\na\n",
    "a\r\n\tb",
    "日本 😀",
    "\u2028é\u0301",
    '{"name": "x"}',
    "12",
    "null",
    "a\\n\"b'",
    "<b>&amp;",
)

COUNTS = (0, 0, 1, 1, 2, 3)
"""Of calls in a message."""


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys(), scope="module")
def family(request) -> Family:
    return request.param


@pytest.fixture(scope="module")
def renderer(family, vocabulary) -> Renderer:
    given = {"today": date(2025, 7, 1), "number_calls": True}
    return Renderer(family, vocabulary(family.name), {name: given[name] for name in given.keys() & family.flags})


@pytest.fixture(scope="module")
def spelled(family, vocabulary) -> tuple[str, ...]:
    """Texts, those among them that spell the control tokens which this family writes."""
    own = family.template.assistant.worded(lambda words: words)
    words = [own.think, own.no_think, *own.stops, own.stop if isinstance(own.stop, str) else ""]
    words += [own.calls.open, own.calls.close, own.calls.call.lead, own.calls.call.tail] if own.calls else []
    return (*TEXTS, *(token for token in vocabulary(family.name).control if any(token in word for word in words)))


@pytest.fixture(scope="module")
def completions(renderer, spelled, examples) -> list[tuple[Message, Request, list[int]]]:
    """Different messages that the family can tell and train, each with its conversation and the ids a model writes."""
    draw, found = random.Random(0), dict[str, tuple[Message, Request, list[int]]]()
    for number in range(20 * examples):
        message, request = said(draw, spelled), Request(CONTEXTS[number % 2], TOOLS)
        told = f"{number % 2} {message}"
        if told not in found and (ids := written(renderer, request, message)):
            found[told] = message, request, ids
        if len(found) == examples:
            break
    assert len(found) > examples / 20, "this family can tell none of these"
    return list(found.values())


def said(draw: random.Random, texts: tuple[str, ...]) -> Message:
    """A message of the assistant's."""
    calls = tuple(
        ToolCall(draw.choice("fg"), json.dumps(arguments(draw, texts), ensure_ascii=draw.random() < 0.5), "a" * 9)
        for _ in range(draw.choice(COUNTS))
    )
    reasoning = "".join(draw.choices(texts, k=2)) if draw.random() < 0.5 else None
    return Message("assistant", "".join(draw.choices(texts, k=draw.randrange(4))), reasoning, calls)


def arguments(draw: random.Random, texts: tuple[str, ...]) -> dict[str, object]:
    made = {
        "text": "".join(draw.choices(texts, k=3)),
        "number": draw.choice((0, -1.5, 10**20, 1e30)),
        "flag": draw.random() < 0.5,
        "list": draw.choices((*texts, 1, None, []), k=2),
        "map": {"k": {"": draw.choice(texts)}},
        "maybe": draw.choice((None, "x y")),
    }
    return {key: made[key] for key in draw.sample(list(made), k=draw.randrange(len(made)))}


def written(renderer: Renderer, request: Request, message: Message) -> list[int]:
    """The ids that a model writes of a message, with the stop that the next turn may lend; none where it would not."""
    index = len(request.messages)
    for told in ((message,), (message, USER), (message, RESULT)):
        try:
            result = renderer.render_batch([Request((*request.messages, *told), request.tools)])[0]
        except TemplateError:
            return []
        if index in result.stream.trainable and not result.stream.proofs[-1].note:
            return [
                token
                for token, owner in zip(result.ids.tolist(), result.owners, strict=True)
                if result.segments[owner].message == index and result.segments[owner].kind.sampled
            ]
    return []


def test_generated_messages_are_read_back_field_by_field(renderer, completions, tally):
    template = renderer.witness.template
    for message, request, ids in completions:
        parsed = renderer.parse(ids, request)
        thinks = template.assistant.thinks(Turn(Request((*request.messages, message), TOOLS), len(request.messages)))
        told = template.assistant.prepare(message, thinks)
        steady = template.assistant.prepare(told, thinks) == told  # some templates trim what they find behind a thought
        assert parsed.exact or not steady
        assert parsed.content == told.content
        assert (parsed.reasoning_content or "") == (told.reasoning or "") * thinks
        assert [(c.name, json.loads(c.arguments)) for c in parsed.message.tool_calls] == [
            (c.name, json.loads(c.arguments)) for c in told.tool_calls
        ]
        assert {call.status for call in parsed.calls} <= {"ok", "ambiguous"}
        check(renderer, parsed, ids)
    tally(renderer.name, "parsed", [len(completions)])


def check(renderer: Renderer, parsed: Parsed, ids: list[int]) -> None:
    """Nothing is lost."""
    assert "".join(text for _, text in parsed.pieces) == renderer.tokenizer.decode(ids)
    assert parsed.message.tool_calls == tuple(call.call for call in parsed.calls if call.call)
    called = "".join(text for kind, text in parsed.pieces if kind is Kind.TOOL_CALL)
    for call in parsed.calls:
        before, found, called = called.partition(call.raw)
        assert found, "calls stand in order, each in its own words"
        assert scaffold(renderer, before)
        assert call.span
        assert call.raw.strip("\ufffd") in renderer.tokenizer.decode(ids[slice(*call.span)])
    assert scaffold(renderer, called) or renderer.witness.template.assistant.calls.behind


def scaffold(renderer: Renderer, text: str) -> bool:
    """Whether these are but words of the template between calls, or their control tokens, maybe cut off."""
    calls = renderer.witness.template.assistant.calls
    words = [calls.open, calls.between, calls.close, calls.after_content] if calls else []
    for token in renderer.tokenizer.control:
        if any(token in word for word in words):
            words, text = [word.replace(token, "") for word in words], text.replace(token, "")
    for word in filter(None, map(str.strip, words)):
        text = text.replace(word, "")
    return any(word.strip().startswith(text.strip()) for word in ("", *words))


def test_nothing_of_a_mutated_completion_is_lost(renderer, completions, mutated, examples, tally):
    for _, request, ids in islice(cycle(completions), examples):
        changed = mutated(ids)
        parsed = renderer.parse(changed, request)
        check(renderer, parsed, changed)
        assert parsed.exact == (retold(renderer, request, parsed) == changed)
    tally(renderer.name, "mutated", [examples])


def test_a_stream_is_read_as_the_whole_is(renderer, completions, mutated, examples, tally):
    draw = random.Random(2)
    for number, (_, request, ids) in enumerate(islice(cycle(completions), examples)):
        said = mutated(ids) if number % 2 else ids
        listening, at, heard, calls = renderer.listen(request), 0, list[tuple[Kind, str]](), 0
        while at < len(said):
            size = draw.choice((1, 1, 2, 5, 50))
            heard += listening.feed(said[at : at + size])
            at += size
            calls = max(calls, len(listening.listener.found))
        parsed = renderer.parse(said, request)
        assert listening.parsed == parsed
        heard += listening.feed(())
        assert listening.close() == parsed
        assert calls <= len(parsed.calls)
        told = {kind: "".join(text for k, text in heard if k is kind) for kind in Kind}
        whole = {kind: "".join(text for k, text in parsed.pieces if k is kind) for kind in Kind}
        assert all(whole[kind].startswith(told[kind]) for kind in Kind)
        assert not parsed.ended or all(whole[kind].rstrip("\ufffd") == told[kind].rstrip("\ufffd") for kind in Kind)
    tally(renderer.name, "streamed", [examples])


def test_noise_is_read_as_well_as_anything(renderer, spelled, examples, tally):
    draw = random.Random(3)
    control = [renderer.tokenizer.control[token] for token in spelled if token in renderer.tokenizer.control]
    top = max(renderer.tokenizer.added.values()) + 2
    for _ in range(5 * examples):
        ids = [
            draw.choice(control) if draw.random() < 0.3 else draw.randrange(-1, top) for _ in range(draw.randrange(30))
        ]
        parsed = renderer.parse(ids, Request(CONTEXTS[0], TOOLS))
        assert parsed.message.tool_calls == tuple(call.call for call in parsed.calls if call.call)
        assert parsed.ended == any(kind is Kind.STOP for kind, _ in parsed.pieces)
    tally(renderer.name, "noise", [5 * examples])


@pytest.fixture
def mutated(renderer, spelled) -> Callable[[list[int]], list[int]]:
    """What a model may make of a completion: cut off, torn, doubled, words and control tokens strewn in."""
    draw, control = random.Random(1), renderer.tokenizer.control
    words = [control[token] for token in spelled if token in control]
    strewn = [[word] for word in words] + renderer.tokenizer.encode_batch(
        [*filter(None, TEXTS), '"', "}", ",", "\n", "Then."]
    )

    def changed(ids: list[int]) -> list[int]:
        for _ in range(draw.choice((1, 1, 2, 4))):
            one, two = sorted(draw.randrange(len(ids) + 1) for _ in range(2))
            how = draw.randrange(5)
            if how == 0:
                ids = ids[:two]
            elif how == 1:
                ids = ids[:one] + ids[two:]
            elif how == 2:
                ids = ids[:two] + ids[one:]
            elif how == 3:
                ids = ids[:one] + draw.choice(strewn) + ids[one:]
            else:
                ids = ids[:one] + draw.choice(strewn) + ids[one + 1 :]
        return ids

    return changed


def retold(renderer: Renderer, request: Request, parsed: Parsed) -> list[int] | None:
    """What a model would write of the message, told again by the whole renderer."""
    index = len(request.messages)
    stop = next((text for kind, text in parsed.pieces if kind is Kind.STOP), None)
    lent = stop in renderer.witness.template.assistant.lent
    try:
        asked = Request((*request.messages, parsed.message), request.tools)
        prompt = renderer.render_batch([Request(request.messages, request.tools, generating=True)])[0].ids
        result = renderer.render_batch([asked])[0]
    except (TemplateError, TokenizerError):
        return None
    if result.ids[: len(prompt)].tolist() != prompt.tolist():
        return None
    owned = zip(result.ids.tolist(), result.owners, strict=True)
    ids = [t for t, o in owned if result.segments[o].message == index and result.segments[o].kind.sampled]
    return [*ids, renderer.tokenizer.control[stop]] if lent else ids
