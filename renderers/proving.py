"""Is each assistant message, as rendered, what inference would see and the model would write?

Three questions to a message. Is everything before it told the same while nothing follows yet? Does it open with the generation
prompt? Does it read the same as the last message? A no is a verdict that names what differs. With a *switch* flipped, a flag
that serving offers too, the answer may be yes: then the proof notes the switch.

What a template tells of a message depends on the roles beside it and on facts of the conversation (`messages.fact`), so
messages are told again only where a fact has changed: a long agent trace is proved in linear time.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from renderers.errors import TemplateError
from renderers.messages import Content, Request, Turn
from renderers.segments import Kind, Origin, Proof, Segment, Verdict

Told = tuple[Segment, ...]
OPENING = -1
"""The number of what stands before the first message."""


class Teller(Protocol):
    """How a template tells a conversation, piece by piece."""

    def opening(self, request: Request) -> Told: ...

    def turn(self, turn: Turn) -> Told: ...

    @property
    def prompt(self) -> Callable[[Turn], str]: ...


def prove(teller: Teller, request: Request, told: Sequence[Told], *, switches: Iterable[str] = ()) -> tuple[Proof, ...]:
    """A proof for each assistant message. `told`: what stands before the first message, then every message."""
    asked, *flipped = [_Serving(teller, setting, told, note) for setting, note in settings(request, switches)]
    proofs = []
    for index, message in enumerate(request.messages):
        if message.role == "assistant":
            proof = asked.proof(index)
            if proof.verdict in (Verdict.HISTORY_REWRITTEN, Verdict.PROMPT_ABSENT):
                others = (serving.proof(index) for serving in flipped)
                proof = next((other for other in others if other.verdict is Verdict.PROVED), proof)
            proofs.append(proof)
    return tuple(proofs)


def settings(request: Request, switches: Iterable[str]) -> list[tuple[Request, str]]:
    """The request as asked, then with each switch flipped; and how to say so."""
    flips = [
        (switch, value) for switch in switches for value in (True, False) if request.flags.get(switch) is not value
    ]
    return [(request, ""), *((replace(request, flags={**request.flags, s: v}), f"{s}={v}") for s, v in flips)]


class _Serving:
    """One setting of the flags, and what a model served so sees before each turn."""

    def __init__(self, teller: Teller, request: Request, told: Sequence[Told], note: str):
        self.teller, self.request, self.told, self.note = teller, request, told, note
        self.facts: dict[Callable[[Turn], Hashable], None] = {}
        self.compared: dict[tuple[Hashable, ...], tuple[int, int | None]] = {}
        """For the facts of some history: how far it was compared with the whole, and the first message that differs."""

    def proof(self, index: int) -> Proof:
        return Proof(index, *self.verdict(index))

    def verdict(self, index: int) -> tuple[Verdict, str]:
        own, messages = self.told[index + 1], self.request.messages
        if not own:
            return Verdict.INVISIBLE, ""
        before = replace(self.request, messages=messages[:index], generating=True)
        try:
            changed, prompt = self.first_change(before), self.teller.prompt(Turn(before))
        except TemplateError as error:
            return Verdict.PROMPT_REFUSED, str(error)
        if changed is not None:
            place = "what stands before the first message" if changed == OPENING else f"message {changed}"
            return Verdict.HISTORY_REWRITTEN, f"{place} reads differently before this turn was written"
        if not holds(own, prompt):
            shown = "".join(segment.text for segment in own)[: len(prompt)]
            return Verdict.PROMPT_ABSENT, f"prompted with {prompt!r}, shown with {shown!r}"
        last = Turn(replace(self.request, messages=messages[: index + 1]), index)
        if not _same(self.teller.turn(last), own):
            return Verdict.TURN_REWRITTEN, "it reads differently as the last message"
        return Verdict.PROVED, self.note

    def first_change(self, before: Request) -> int | None:
        """The first message that is told otherwise while nothing follows `before`.

        All but the last one see what they see in the whole conversation, unless a fact differs.
        """
        opening, last = self.teller.opening(before), len(before.messages) - 1
        if not _same(opening, self.told[0]):
            return OPENING
        self.facts.update(dict.fromkeys(before.facts))
        facts = tuple(before.facts.setdefault(fact, fact(Turn(before))) for fact in self.facts)
        reached, change = self.compared.get(facts, (0, None))
        while change is None and reached < last:
            change = None if self.unchanged(before, reached) else reached
            reached += 1
        self.compared[facts] = reached, change
        if change is None and not self.unchanged(before, last):
            change = last
        self.facts.update(dict.fromkeys(before.facts))
        return change

    def unchanged(self, before: Request, index: int) -> bool:
        return _same(self.teller.turn(Turn(before, index)), self.told[index + 1])


def _same(one: Told, other: Told) -> bool:
    """Whether two stretches become the same text, with the same words of it literal."""
    return one == other or _wire(one) == _wire(other)


def _wire(told: Told) -> list[tuple[bool, str]]:
    runs = groupby(told, lambda segment: segment.literal)
    return [(literal, "".join(segment.text for segment in run)) for literal, run in runs]


def holds(told: Told, prompt: str) -> bool:
    """Whether a turn opens with a generation prompt, in the template's own words."""
    words = ""
    for segment in told:
        if not segment.literal or len(words) >= len(prompt):
            break
        words += segment.text
    return words.startswith(prompt)


def seamed(told: Told, prompts: Iterable[str]) -> Iterator[Segment]:
    """A turn in which what its generation prompt holds is scaffold: the model never writes that."""
    left = next((len(prompt) for prompt in prompts if holds(told, prompt)), 0)
    for segment in told:
        cut = min(left, len(segment.text))
        left -= cut
        if cut:
            yield replace(segment, text=segment.text[:cut], kind=Kind.SCAFFOLD)
        if cut < len(segment.text):
            yield replace(segment, text=segment.text[cut:]) if cut else segment


def lost_fields(request: Request, segments: Iterable[Segment]) -> tuple[Origin, ...]:
    """Fields that hold something and are nowhere in the text: the origin of no segment is the field, in it, or around it.

    Paths have the Hub's dict shape: ("messages", 2, "tool_calls", 0, "function", "arguments").
    """
    origins = {segment.origin for segment in segments if segment.text and segment.origin is not None}
    told = {origin[:length] for origin in origins for length in range(1, len(origin) + 1)}
    lost = (field for field in _fields(request) if field not in told and field[:3] not in origins)
    return tuple(lost)


def _fields(request: Request) -> Iterator[Origin]:
    """Every field that holds something."""
    yield from (("tools", index) for index, tool in enumerate(request.tools) if tool)
    for index, message in enumerate(request.messages):
        held: list[tuple[Origin, str]] = [(("reasoning_content",), message.reasoning or "")]
        held += _texts(message.content)
        for position, call in enumerate(message.tool_calls):
            held.append((("tool_calls", position, "function", "name"), call.name))
            held.append((("tool_calls", position, "function", "arguments"), call.arguments))
        yield from (("messages", index, *path) for path, text in held if text.strip())


def _texts(content: Content) -> list[tuple[Origin, str]]:
    if isinstance(content, str):
        return [(("content",), content)]
    return [(("content", position, "text"), part.text) for position, part in enumerate(content)]
