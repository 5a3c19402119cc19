"""Both witnesses, asked the same: text, ids, whose each token is, proofs and lost fields are equal.

Asked of conversations that hypothesis draws, and of every message of the recorded traces. What a family tells otherwise
than its official template stands in `families/<name>.toml` under `generated`: a feature of conversations, what becomes
of those that have it, and why. All others are told alike. `pytest --examples 2000` asks more of them.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import pairwise, takewhile
from operator import ne

import pytest

from assets_tests.renderers.drawing import drawn, shown
from renderers import (
    FAMILIES,
    Family,
    Kind,
    Message,
    Origin,
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


def spoken(asked: Request) -> Iterator[tuple[str | None, Message]]:
    """Every message that is no instruction, and the role of the one before it."""
    told = [message for message in asked.messages if message.role not in ("system", "developer")]
    yield from zip((None, *(message.role for message in told)), told, strict=False)


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
    "an empty answer beside another": lambda asked: any(
        a.role == b.role == "assistant" and not all(m.tool_calls or text(m.content).strip() for m in (a, b))
        for a, b in pairwise(asked.messages)
    ),
    "a thought in an answer to nobody": lambda asked: any(
        before in (None, "assistant") and message.role == "assistant" and "</think>" in text(message.content)
        for before, message in spoken(asked)
    ),
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


@pytest.fixture(scope="session")
def generated(examples) -> list[Request]:
    return drawn(examples)


def told_alike(witnesses: tuple[Renderer, Renderer], known: dict, conversations: Iterable[Request]) -> Counter[str]:
    """How many agree, differ as their family says that they do, and are refused by both."""
    found, apart, wrong = Counter[str](), known.get("generated", {}), list[str]()
    for asked in conversations:
        differs = compared(witnesses, asked)
        named = {what for feature, (*whats, _) in apart.items() if FEATURES[feature](asked) for what in whats}
        found["refused" if differs == {"neither"} else "named" if differs else "agreed"] += 1
        if not differs <= {"neither", *named}:
            wrong.append(f"{sorted(differs - named)}\n{shown(asked)}")
    assert not wrong, f"{len(wrong)} differ, as this does: {wrong[0]}"
    return found


def test_both_witnesses_agree_on_generated_conversations(family, witnesses, known, generated, tally):
    found = told_alike(witnesses, known, generated)
    tally(family.name, "generated: agreed, named, refused", [found[how] for how in ("agreed", "named", "refused")])
    assert found["agreed"] > len(generated) / 10


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


def test_both_witnesses_agree_on_the_recorded_traces(family, witnesses, known, recorded, examples, tally):
    asked = [one for window in recorded for one in (beginnings(window) if examples > 25 else [window])]
    found = told_alike(witnesses, known, asked)
    tally(family.name, "recorded: agreed, named, refused", [found[how] for how in ("agreed", "named", "refused")])
