"""Conversations for laws that are asked of many: hypothesis draws them, the same everywhere, no two alike."""

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from renderers import Message, Part, Request, ToolCall
from renderers.messages import text, tojson

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


def joined(asked: Request) -> Request:
    """The same, each content in parts as one text: many families tell these otherwise, and say so."""
    return asked.but(messages=tuple(message.but(content=text(message.content)) for message in asked.messages))


def drawn(count: int) -> list[Request]:
    """So many conversations, the shortest first."""
    found = dict[str, Request]()

    @seed(0)
    @settings(max_examples=count * 3 // 2, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(conversations().map(joined))
    def hear(asked: Request) -> None:
        if len(found) < count:
            found.setdefault(shown(asked), asked)

    hear()
    assert len(found) == count, "hypothesis draws many of them twice"
    return [found[told] for told in sorted(found, key=len)]


def shown(asked: Request) -> str:
    return "\n".join([*map(repr, asked.messages), *map(str, asked.tools)])
