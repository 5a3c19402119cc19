"""Is each assistant message, as rendered, what inference would see and the model would write?

Three questions to a message. Is everything before it told the same while nothing follows yet? Does it open with the
generation prompt? Does it read the same as the last message? A no is a verdict that names what differs. With a *switch*
flipped, a flag that serving offers too, the answer may be yes: then the proof notes the switch.

No prefix is rendered again. Of all that follows a message, its telling sees no more than the role of the next one and,
if its role `sees` more (the assistant's does), the template's `view`. So views are compared, and those only where a
fact has changed (`messages.fact`): a long agent trace is proved in nearly linear time.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from typing import NamedTuple, Protocol

from renderers.errors import TemplateError
from renderers.messages import Content, Request, Turn
from renderers.segments import Kind, Origin, Proof, Segment, Verdict

Told = tuple[Segment, ...]


class Teller(Protocol):
    """How a template tells a conversation, piece by piece."""

    def told(self, request: Request) -> Sequence[Told]:
        """What stands before the first message, then every message."""
        ...

    def turn(self, turn: Turn) -> Told: ...

    def sees(self, role: str) -> bool:
        """Whether telling a role depends on what follows, beyond the next role."""
        ...

    def view(self, turn: Turn) -> Hashable:
        """All that telling a message depends on beside the message, if its role `sees` anything."""
        ...

    @property
    def prompt(self) -> Callable[[Turn], str]: ...


class Proven(NamedTuple):
    """A proof, and the generation prompt that it speaks of ("" where there is none)."""

    proof: Proof
    prompt: str


def prove(teller: Teller, request: Request, told: Sequence[Told], *, switches: Mapping[str, bool]) -> dict[int, Proven]:
    """A proof for each assistant message of a conversation that is `told` so. `switches`: name -> default."""
    asked, *flipped = [_Serving(teller, setting, told, note) for setting, note in _settings(request, switches)]
    proven = {}
    for index in asked.assistants:
        proven[index] = asked.prove(index)
        if proven[index].proof.verdict in (Verdict.HISTORY_REWRITTEN, Verdict.PROMPT_ABSENT):
            others = (serving.prove(index) for serving in flipped)
            proven[index] = next((o for o in others if o.proof.verdict is Verdict.PROVED), proven[index])
    return proven


def _settings(request: Request, switches: Mapping[str, bool]) -> list[tuple[Request, str]]:
    """The request as asked, then with each switch flipped; and how to say so."""
    flips = [(switch, not request.flags.get(switch, default)) for switch, default in switches.items()]
    return [(request, ""), *((replace(request, flags={**request.flags, s: v}), f"{s}={v}") for s, v in flips)]


class _Serving:
    """One setting of the flags, and what a model that is served so sees before each turn."""

    def __init__(self, teller: Teller, request: Request, told: Sequence[Told], note: str):
        self.teller, self.request, self.told, self.note = teller, request, told, note
        self.assistants = [i for i, message in enumerate(request.messages) if message.role == "assistant"]
        self.watched = [i for i, message in enumerate(request.messages) if teller.sees(message.role)]
        """Messages with a view."""
        self.facts: dict[Callable[[Turn], Hashable], None] = {}
        """All that views have asked for so far."""
        self.viewed: dict[tuple[Hashable, ...], tuple[int, int | None]] = {}
        """For the facts of a history: how many of its watched messages were viewed, and the first that differs."""

    def prove(self, index: int) -> Proven:
        if not self.told[index + 1]:
            return Proven(Proof(index, Verdict.INVISIBLE), "")
        if not index:
            return Proven(Proof(index, Verdict.PROMPT_REFUSED, "no message stands before it to prompt from"), self.end)
        before = replace(self.request, messages=self.request.messages[:index], generating=True)
        try:
            change, prompt = self.first_change(before), self.teller.prompt(Turn(before))
        except TemplateError as error:
            return Proven(Proof(index, Verdict.PROMPT_REFUSED, str(error)), self.end)
        return Proven(Proof(index, *self.verdict(index, change, prompt)), prompt)

    def verdict(self, index: int, change: int | None, prompt: str) -> tuple[Verdict, str]:
        own = self.told[index + 1]
        if change is not None:
            place = f"message {change}" if change >= 0 else "what stands before the first message"
            return Verdict.HISTORY_REWRITTEN, f"{place} reads differently when this turn is written"
        if not holds(own, prompt):
            shown = "".join(segment.text for segment in own)[: len(prompt)]
            return Verdict.PROMPT_ABSENT, f"prompted with {prompt!r}, shown with {shown!r}"
        last = Turn(replace(self.request, messages=self.request.messages[: index + 1], generating=False), index)
        if not _same(self.teller.turn(last), own):
            return Verdict.TURN_REWRITTEN, "it reads differently as the last message"
        return Verdict.PROVED, self.note

    def first_change(self, before: Request) -> int | None:
        """The first message that is told otherwise while nothing follows `before`; -1 for what precedes them all."""
        last = len(before.messages) - 1
        if self.unsteady is not None and self.unsteady < last:
            return self.unsteady
        change = self.first_view_change(before)
        if change is None and not _same(self.teller.turn(Turn(before, last)), self.told[last + 1]):
            return last
        return change

    def first_view_change(self, before: Request) -> int | None:
        """The first watched message but the last that is viewed otherwise. Where facts are equal, so are views."""
        known = tuple((fact, before.facts.setdefault(fact, fact(Turn(before)))) for fact in self.facts)
        reached, change = self.viewed.get(known, (0, None))
        earlier = bisect_left(self.watched, len(before.messages) - 1)
        while change is None and reached < earlier:
            index = self.watched[reached]
            change = None if self.teller.view(Turn(before, index)) == self.views[index] else index
            reached += 1
        self.viewed[known] = reached, change
        self.facts.update(dict.fromkeys(before.facts))
        return change

    @cached_property
    def end(self) -> str:
        """The prompt at the end, which a turn that nothing prompts is cut by."""
        try:
            return self.teller.prompt(Turn(self.request))
        except TemplateError:
            return ""

    @cached_property
    def unsteady(self) -> int | None:
        """The first message that these flags alone tell otherwise."""
        if not self.note:
            return None
        told = zip(self.teller.told(self.request), self.told, strict=True)
        return next((number - 1 for number, (one, other) in enumerate(told) if not _same(one, other)), None)

    @cached_property
    def views(self) -> dict[int, Hashable]:
        return {index: self.teller.view(Turn(self.request, index)) for index in self.watched}


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


def seamed(told: Told, prompt: str) -> Iterator[Segment]:
    """A turn in which what its generation prompt holds is scaffold: the model never writes that."""
    left = len(prompt) if holds(told, prompt) else 0
    for segment in told:
        cut = min(left, len(segment.text))
        left -= cut
        if cut:
            yield replace(segment, text=segment.text[:cut], kind=Kind.SCAFFOLD)
        if cut < len(segment.text):
            yield replace(segment, text=segment.text[cut:]) if cut else segment


def lost_fields(request: Request, segments: Iterable[Segment]) -> tuple[Origin, ...]:
    """Fields that hold something and are nowhere in the text: no segment's origin is the field, in it, or around it.

    Paths have the Hub's dict shape: ("messages", 2, "tool_calls", 0, "function", "arguments").
    """
    origins = {segment.origin for segment in segments if segment.text and segment.origin is not None}
    told = {origin[:length] for origin in origins for length in range(1, len(origin) + 1)}
    untold = (field for field in _fields(request) if field not in told)
    return tuple(field for field in untold if not any(field[:length] in origins for length in (1, 3)))


def _fields(request: Request) -> Iterator[Origin]:
    """Every field that holds something."""
    yield from (("tools", index) for index, tool in enumerate(request.tools) if tool)
    for index, message in enumerate(request.messages):
        held: list[tuple[Origin, str]] = [(("reasoning_content",), message.reasoning or "")]
        held += _texts(message.content)
        for position, call in enumerate(message.tool_calls):
            held.append((("tool_calls", position, "function", "name"), call.name))
            held.append((("tool_calls", position, "function", "arguments"), _held(call.arguments)))
        yield from (("messages", index, *path) for path, text in held if text.strip())


def _held(arguments: str) -> str:
    """Arguments; an empty object holds nothing that a template must write."""
    return "" if "".join(arguments.split()) == "{}" else arguments


def _texts(content: Content) -> list[tuple[Origin, str]]:
    if isinstance(content, str):
        return [(("content",), content)]
    return [(("content", at, p.kind), p.text if p.kind == "text" else p.type) for at, p in enumerate(content)]
