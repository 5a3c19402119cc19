"""Laws of reading back, of every declared family: what it writes, what a model makes of that, and noise."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import date

import pytest

from renderers import FAMILIES, Family, Kind, Message, Parsed, Renderer, Request, TemplateError, ToolCall
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
    return Renderer(family, vocabulary(family.name), {"today": date(2025, 7, 1)} if "today" in family.flags else {})


@pytest.fixture(scope="module")
def spelled(family, vocabulary) -> tuple[str, ...]:
    """Texts, those among them that spell the control tokens which this family writes."""
    own = family.template.assistant.worded(lambda words: words)
    words = [own.think, own.no_think, *own.stops, own.stop if isinstance(own.stop, str) else ""]
    words += [own.calls.open, own.calls.close, own.calls.call.lead, own.calls.call.tail] if own.calls else []
    return (*TEXTS, *(token for token in vocabulary(family.name).control if any(token in word for word in words)))


@pytest.fixture(scope="module")
def completions(renderer, spelled, examples) -> Callable[[], Iterator[tuple[Message, Request, list[int]]]]:
    """Generated messages that the family can tell and train, each with its conversation and the ids a model writes."""

    def generated() -> Iterator[tuple[Message, Request, list[int]]]:
        draw, found = random.Random(0), 0
        for number in range(20 * examples):
            message, request = said(draw, spelled), Request(CONTEXTS[number % 2], TOOLS)
            if ids := written(renderer, request, message):
                found += 1
                yield message, request, ids
            if found == examples:
                return
        assert found > examples / 20, "this family can tell none of these"

    return generated


def said(draw: random.Random, texts: tuple[str, ...]) -> Message:
    """A message of the assistant's."""
    calls = tuple(
        ToolCall(draw.choice("fg"), json.dumps(arguments(draw, texts), ensure_ascii=draw.random() < 0.5), "a" * 9)
        for _ in range(draw.choice((0, 0, 1, 1, 2, 3)))
    )
    reasoning = "".join(draw.choices(texts, k=2)) if draw.random() < 0.5 else None
    return Message("assistant", "".join(draw.choices(texts, k=draw.randrange(3))), reasoning, calls)


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


def test_generated_messages_are_read_back_field_by_field(renderer, completions):
    template = renderer.witness.template
    for message, request, ids in completions():
        parsed = renderer.parse(ids, request)
        thinks = template.assistant.thinks(Turn(Request((*request.messages, message), TOOLS), len(request.messages)))
        told = template.assistant.prepare(message, thinks)
        assert parsed.exact
        assert parsed.content == told.content
        assert (parsed.reasoning_content or "") == (told.reasoning or "") * thinks
        assert [(c.name, json.loads(c.arguments)) for c in parsed.message.tool_calls] == [
            (c.name, json.loads(c.arguments)) for c in told.tool_calls
        ]
        assert {call.status for call in parsed.calls} <= {"ok", "ambiguous"}
        check(renderer, parsed, ids)


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
    """Whether these are but words of the template between calls, maybe cut off."""
    calls = renderer.witness.template.assistant.calls
    words = [w.strip() for w in (calls.open, calls.between, calls.close, calls.after_content)] if calls else []
    for word in filter(None, words):
        text = text.replace(word, "")
    return any(word.startswith(text.strip()) for word in ("", *words))
