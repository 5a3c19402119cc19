"""Both witnesses, asked the same: text, ids, whose each token is, proofs and lost fields are equal.

Asked of conversations that hypothesis draws, and of every message of the recorded traces. What a family tells otherwise
than its official template stands in `families/<name>.toml` under `generated`: a feature of conversations, what becomes
of those that have it, and why. All others are told alike. `pytest --examples 2000` asks more of them.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise, takewhile
from operator import ne

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from renderers import (
    FAMILIES,
    Family,
    Kind,
    Message,
    Origin,
    Part,
    Rendered,
    Renderer,
    Request,
    Segment,
    TemplateError,
    ToolCall,
    Verdict,
    create_renderer,
    from_hub,
)
from renderers.messages import text, tojson

NOW = date(2025, 7, 1)
ODD = (
    "",
    " ",
    "\n",
    "ok",
    " \n two lines\r\n\tend \n\n",
    "Größe 日本 🎉 e\u0301 \u2028\u00a0\u200b",
    "<|im_end|><|im_start|>user\n",
    "<|eot_id|><end_of_turn><turn|><｜end▁of▁sentence｜><|end|>",
    "<think>\nhm\n</think>\n\nso",
    "a</think>",
    "<tool_call></tool_call>",
    "<tool_response>\nno\n</tool_response>",
    "[INST]a[/INST]</s>",
    "<|user|>{content}<|assistant|>",
    "{{ x }}{% if %}",
    '{"name": "f", "arguments": {}}',
)
TEXT = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
    st.lists(st.sampled_from(ODD), max_size=3).map("".join),
)
NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXT, inner, max_size=2)),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(st.one_of(st.sampled_from(("path", "a b", "über", "x-y")), TEXT), VALUES, max_size=3)
NAMES = st.sampled_from(("f", "look_up", "a.b-c", "größe"))
THOUGHTS = st.one_of(st.none(), TEXT)
SCHEMAS = st.sampled_from(
    (
        {"type": "string"},
        {"type": "integer", "description": "How <many>."},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"deep": {"type": "number"}}},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "boolean"},
    )
)
PROPERTIES = st.dictionaries(st.sampled_from(("path", "a b", "n")), SCHEMAS, max_size=3)


@st.composite
def tools(draw: Callable) -> tuple[dict, ...]:
    """Tools on offer, maybe none."""
    told = []
    for name in draw(st.one_of(st.just([]), st.lists(NAMES, max_size=3, unique=True))):
        properties = draw(PROPERTIES)
        parameters = {"type": "object", "properties": properties, "required": sorted(properties)[:1]}
        told.append({"name": name, "description": draw(TEXT.filter(str.strip)), "parameters": parameters})
    return tuple({"type": "function", "function": function} for function in told)


@st.composite
def conversations(draw: Callable) -> Request:
    """Wild ones, those in which everybody speaks in turn, and those that know no tools."""
    wild, plain = draw(st.sampled_from(((True, False), (False, False), (False, True))))
    chance = st.integers(0, 9).map(lambda drawn: wild and not drawn)
    content = st.one_of(TEXT, st.lists(TEXT.map(lambda said: Part("text", said)), max_size=3).map(tuple))
    roles = ("system", "developer") if wild else ("system",)
    told = [Message(draw(st.sampled_from(roles)), draw(content))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        told += [] if draw(chance) else [Message("user", draw(content))]
        for _ in range(0 if plain else draw(st.integers(0, 2))):
            told += draw(steps(len(told), content, chance))
        told += [] if draw(chance) else [Message("assistant", draw(content), None if plain else draw(THOUGHTS))]
        told += [Message("system", draw(content))] if draw(chance) else []
    told = told or [Message("user")]
    told = told[: draw(st.sampled_from((len(told), len(told) - 1)))] or told
    return Request(tuple(told), () if plain else draw(tools()), generating=told[-1].role != "assistant")


@st.composite
def steps(draw: Callable, at: int, content: st.SearchStrategy, missing: st.SearchStrategy) -> list[Message]:
    """Calls, and their results."""
    ids = [f"call{at * 10 + k:05}" for k in range(draw(st.sampled_from((1, 1, 2, 3))))]
    calls = tuple(ToolCall(draw(NAMES), tojson(draw(ARGUMENTS)), known) for known in ids)
    results = [Message("tool", draw(content), tool_call_id=known) for known in ids if not draw(missing)]
    return [Message("assistant", draw(content), draw(THOUGHTS), calls), *results]


def late_system(asked: Request) -> bool:
    lead = sum(1 for _ in takewhile(lambda message: message.role in ("system", "developer"), asked.messages))
    return any(message.role in ("system", "developer") for message in asked.messages[max(1, lead) :]) or lead > 1


def broken(arguments: str) -> bool:
    try:
        return not isinstance(json.loads(arguments), dict)
    except ValueError:
        return True


def of_calls(holds: Callable[[str], bool]) -> Callable[[Request], bool]:
    return lambda asked: any(holds(call.arguments) for message in asked.messages for call in message.tool_calls)


def of_assistant(holds: Callable[[Message], bool]) -> Callable[[Request], bool]:
    return lambda asked: any(message.role == "assistant" and holds(message) for message in asked.messages)


def of_neighbours(role: str, *after: str) -> Callable[[Request], bool]:
    return lambda asked: any(a.role == role and b.role in after for a, b in pairwise(asked.messages))


FEATURES: dict[str, Callable[[Request], bool]] = {
    "a late system message": late_system,
    "a developer": lambda asked: any(message.role == "developer" for message in asked.messages),
    "a thought in the content": of_assistant(lambda message: "think>" in text(message.content)),
    "content beside calls": of_assistant(lambda message: bool(message.tool_calls and message.content)),
    "blank content beside calls": of_assistant(
        lambda message: bool(message.tool_calls) and text(message.content).isspace()
    ),
    "broken arguments": of_calls(broken),
    "an argument without a name": of_calls(lambda arguments: '"": ' in arguments),
    "assistants in a row": of_neighbours("assistant", "assistant"),
    "the assistant, then instructions": of_neighbours("assistant", "system", "developer"),
    "users in a row": of_neighbours("user", "user"),
    "a user behind results": of_neighbours("tool", "user"),
    "the user is not the first": lambda asked: (
        [message.role for message in asked.messages[asked.messages[0].role == "system" :][:1]] != ["user"]
    ),
}
"""What may make a conversation one that a family tells otherwise."""


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys(), scope="module")
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture
def witnesses(family, known, source, vocabulary, official_template) -> tuple[Renderer, Renderer]:
    """The family, and its official template traced, with the control tokens of its vocabulary."""
    tokenizer = copy.copy(vocabulary(family.name))
    tokenizer.chat_template = source
    folder = known.get("template", family.name).partition("/")[0]
    tokenizer.special_tokens = official_template(folder).special_tokens
    flags = {"today": NOW} if "today" in family.flags else {}
    return create_renderer(tokenizer, family.name, **flags), create_renderer(tokenizer, "traced", today=NOW)


def compared(witnesses: tuple[Renderer, Renderer], asked: Request) -> set[str]:
    """In what the two differ; "refused", "more" where only one tells it. {"neither"} where none does."""
    told: list[Rendered | None] = []
    for witness in witnesses:
        try:
            told.append(witness.render_batch([asked])[0])
        except TemplateError:
            told.append(None)
    one, other = told
    if one is None or other is None:
        return {"neither"} if one is other else {"refused" if one is None else "more"}
    return set(differences(one, other))


def differences(one: Rendered, other: Rendered) -> Iterator[str]:
    if one.text != other.text or one.ids.tolist() != other.ids.tolist():
        yield "text" if one.text != other.text else "ids"
        return
    either = proved(one) | proved(other)
    for mine, theirs in {*zip(owned(one), owned(other), strict=True)}:
        yield from unlike(mine, theirs, either)
    if set(one.stream.lost) != set(other.stream.lost):
        yield "lost"
    if proved(one) != proved(other):
        yield "proved"


def owned(result: Rendered) -> list[Segment]:
    """Whose each token is."""
    return [result.segments[owner] for owner in result.owners]


def proved(result: Rendered) -> set[int]:
    return {proof.message for proof in result.stream.proofs if proof.verdict is Verdict.PROVED}


def unlike(mine: Segment, theirs: Segment, turns: set[int]) -> Iterator[str]:
    """Of a token that both have: is it written by the model, of the same message, as the same kind?

    Told data is what the same field is. The template's own told words are nobody's. What is written of turns that
    neither has proved is written nowhere. Where words end that stand around reasoning, the traced witness has to guess.
    """
    written = [one.kind.sampled and one.message in turns for one in (mine, theirs)]
    if any(written):
        kinds = {mine.kind, theirs.kind}
        if not all(written) or mine.message != theirs.message:
            yield "sampled"
        elif len(kinds) > 1 and not (mine.literal and Kind.REASONING in kinds):
            yield "kinds"
    elif (one := read_from(mine)) and (other := read_from(theirs)) and any(map(ne, one, other)):
        yield "origins"


def read_from(one: Segment) -> Origin:
    """What message or tool data is from that the model only reads."""
    return () if one.literal or one.kind.sampled else (one.origin or ())[:2]


def joined(asked: Request) -> Request:
    """The same, each content in parts as one text: many families tell these otherwise, and say so."""
    return replace(asked, messages=tuple(message.but(content=text(message.content)) for message in asked.messages))


def shown(asked: Request) -> str:
    return "\n".join([*map(repr, asked.messages), *map(str, asked.tools)])


def test_both_witnesses_agree_on_generated_conversations(family, witnesses, known, examples):
    found, apart = Counter[str](), known.get("generated", {})

    @seed(0)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(conversations().map(joined))
    def law(asked: Request) -> None:
        differs = compared(witnesses, asked)
        found.update(differs or ["equal"])
        allowed = {what for feature, (*whats, _) in apart.items() if FEATURES[feature](asked) for what in whats}
        assert differs <= {"neither", *allowed}, shown(asked)

    law()
    print(f"generated {family.name} {dict(found)}")
    assert found["equal"] > examples / 10


@pytest.fixture(scope="module")
def recorded(shared) -> list[Request]:
    """Every context window of every recorded session: what its model was sent, and what it answered."""
    told = []
    for path in sorted(shared.glob("traces/*/*/ground_truth.json")):
        for thread in json.loads(path.read_bytes()).values():
            told += [Request(respelled(w["messages"]), tuple(map(in_function, w["tools"]))) for w in thread]
    return told


def respelled(messages: list[dict]) -> tuple[Message, ...]:
    """Text alone, arguments as templates spell objects, custom calls as calls, ids of nine characters."""
    names: dict[str | None, str] = {}
    told = from_hub([{**m, "tool_calls": [*map(in_input, m.get("tool_calls") or ())]} for m in messages])

    def named(known: str | None) -> str:
        return names.setdefault(known, f"call{len(names):05}")

    return tuple(
        message.but(
            content=text(message.content),
            tool_call_id=named(message.tool_call_id) if message.role == "tool" else None,
            tool_calls=tuple(ToolCall(c.name, spelled(c.arguments), named(c.id)) for c in message.tool_calls),
        )
        for message in told
    )


def in_function(tool: dict) -> dict:
    """Tools of OpenAI's that are no functions, as functions."""
    return (
        tool
        if "function" in tool
        else {"type": "function", "function": {"name": tool["type"], "description": "A", "parameters": {}}}
    )


def in_input(call: dict) -> dict:
    """Its call, with that text as an argument."""
    custom = call.get("custom")
    return {**call, "name": custom["name"], "arguments": {"input": custom["input"]}} if custom else call


def spelled(arguments: str) -> str:
    try:
        return tojson(json.loads(arguments))
    except ValueError:
        return arguments


def beginnings(asked: Request) -> Iterator[Request]:
    """The whole, and what each of its answers was prompted with."""
    yield asked
    yield from (asked.until(at, generating=True) for at, m in enumerate(asked.messages) if at and m.role == "assistant")


def test_both_witnesses_agree_on_the_recorded_traces(family, witnesses, known, recorded, examples):
    found, apart = Counter[str](), known.get("generated", {})
    for window in recorded:
        for asked in beginnings(window) if examples > 25 else [window]:
            differs = compared(witnesses, asked)
            found.update(differs or ["equal"])
            allowed = {what for feature, (*whats, _) in apart.items() if FEATURES[feature](asked) for what in whats}
            assert differs <= {"neither", *allowed}, shown(asked)
    print(f"recorded {family.name} {dict(found)}, messages: {sum(len(asked.messages) for asked in recorded)}")
