"""Is each assistant message, as rendered, what inference would see and the model would write?

Three questions to a message. Is everything before it told the same while nothing follows yet? Does it open with the
generation prompt? Does it read the same as the last message? A no is a verdict that names what differs. With a *switch*
flipped, a flag that serving offers too, the answer may be yes: then the proof notes the switch.

No prefix is rendered again. Of all that follows a message, its telling sees no more than the role of the next one and,
if its role is one of the `viewers` (the assistant's is), the template's `view`. So views are compared, and those only
where a fact has changed (`messages.fact`): a long agent trace is proved in nearly linear time.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Protocol

import msgspec

from renderers.errors import TemplateError
from renderers.messages import PLACED, Request, Turn
from renderers.segments import PROVED, Kind, Phrase, Proof, Said, Segment, Told, Verdict, prompted, segments_of

Fact = Callable[[Turn], Hashable]


class Teller(Protocol):
    """How a template tells a conversation, piece by piece."""

    def told(self, request: Request) -> Sequence[Told]:
        """What stands before the first message, then every message."""
        ...

    def turn(self, turn: Turn) -> Told: ...

    @property
    def viewers(self) -> Collection[str]:
        """Roles of which the telling depends on what follows, beyond the next role."""
        ...

    def view(self, turn: Turn) -> Hashable:
        """All that telling a message depends on beside the message, if its role is one of the `viewers`."""
        ...

    def steady(self, role: str) -> bool:
        """Whether a role is told the same at the end as before a message of the assistant's."""
        ...

    def prompts(self, request: Request) -> Callable[[int], str]:
        """The generation prompt before each message, and at the end. Raises TemplateError where there is none."""
        ...

    @property
    def looks_ahead(self) -> bool:
        """Whether telling the model's message depends on the role of the next."""
        ...


SWITCHED = (Verdict.HISTORY_REWRITTEN, Verdict.PROMPT_ABSENT)
"""What a switch may turn into a proof."""


class Proven(msgspec.Struct, frozen=True, gc=False):
    """A proof, and the generation prompt that it speaks of ("" where there is none)."""

    proof: Proof
    prompt: str


def prove(teller: Teller, request: Request, told: Sequence[Told], *, switches: Mapping[str, bool]) -> dict[int, Proven]:
    """A proof for each assistant message of a conversation that is `told` so. `switches`: name -> default."""
    asked, flipped, proven = _Serving(teller, request, told, ""), None, dict[int, Proven]()
    for index, message in enumerate(request.messages):
        if message.role != "assistant":
            continue
        proven[index] = one = asked.prove(index)
        if one.proof.verdict in SWITCHED:
            flipped = flipped or [_Serving(teller, flip, told, note) for flip, note in _flips(request, switches)]
            others = (serving.prove(index) for serving in flipped)
            proven[index] = next((other for other in others if other.proof.verdict is PROVED), one)
    return proven


def trust(teller: Teller, request: Request) -> dict[int, Proven]:
    """Verdicts without proof: every turn is taken for what the model would write after its generation prompt."""
    asked, written = teller.prompts(request), [i for i, m in enumerate(request.messages) if m.role == "assistant"]
    return {index: Proven(Proof(index, Verdict.TRUSTED), asked(index) if index else "") for index in written}


def _flips(request: Request, switches: Mapping[str, bool]) -> Iterator[tuple[Request, str]]:
    """The request with each switch flipped, and how to say so."""
    for switch, default in switches.items():
        value = not request.flags.get(switch, default)
        yield request.but(flags={**request.flags, switch: value}), f"{switch}={value}"


class _Serving:
    """One setting of the flags, and what a model that is served so sees before each turn."""

    def __init__(self, teller: Teller, request: Request, told: Sequence[Told], note: str):
        self.teller, self.request, self.told, self.note = teller, request, told, note
        self.prompts = teller.prompts(request)
        viewers = teller.viewers
        self.watched = [index for index, message in enumerate(request.messages) if message.role in viewers]
        """Messages with a view."""
        self.settled = request.facts if len(request.views) == len(self.watched) else None
        """All that views have asked for as it is in the whole, where all messages have been told."""
        placed = self.settled is not None and all(hasattr(fact, PLACED) for fact in self.settled)
        self.since: float = max(self.settled.values(), default=-1) if self.settled is not None and placed else math.inf
        """The message behind which all of that is so in every beginning."""
        self.facts: dict[Fact, Hashable] = {}
        """All that views have asked for so far, as it is before the turn that was proved last."""
        self.viewed, self.change = 0, None
        """How many of the watched messages before it are told alike there, and the first that is not."""

    def prove(self, index: int) -> Proven:
        if not self.told[index + 1]:
            return Proven(Proof(index, Verdict.INVISIBLE), "")
        if not index:
            return Proven(Proof(index, Verdict.PROMPT_REFUSED, "no message stands before it to prompt from"), self.end)
        try:
            change, prompt = self.first_change(index), self.prompts(index)
        except TemplateError as error:
            return Proven(Proof(index, Verdict.PROMPT_REFUSED, str(error)), self.end)
        return Proven(Proof(index, *self.verdict(index, change, prompt)), prompt)

    def verdict(self, index: int, change: int | None, prompt: str) -> tuple[Verdict, str]:
        own = self.told[index + 1]
        if change is not None:
            place = f"message {change}" if change >= 0 else "what stands before the first message"
            return Verdict.HISTORY_REWRITTEN, f"{place} reads differently when this turn is written"
        if not holds(own, prompt):
            shown = "".join(segment.text for segment in segments_of(own))[: len(prompt)]
            return Verdict.PROMPT_ABSENT, f"prompted with {prompt!r}, shown with {shown!r}"
        if self.note and self.unsteady == index:
            return Verdict.TURN_REWRITTEN, f"{self.note} tells it differently"
        if index + 2 == len(self.told) and not self.request.generating:  # it is the last message
            return PROVED, self.note
        end = self.request.until(index + 1, generating=False)
        if self.since < index and self.settled:
            end.facts.update(self.settled)
        last = Turn(end, index)
        seen_alike = not self.teller.looks_ahead and self.teller.view(last) == self.view(index)
        if not seen_alike and not _same(self.teller.turn(last), own):
            return Verdict.TURN_REWRITTEN, "it reads differently as the last message"
        return PROVED, self.note

    def first_change(self, index: int) -> int | None:
        """The first message that is told otherwise while this one is prompted for; -1 for what precedes them all."""
        last, unsteady = index - 1, self.unsteady if self.note else None
        if unsteady is not None and unsteady < last:
            return unsteady
        steady = self.teller.steady(self.request.messages[last].role)
        if self.since >= index or not steady:
            before = self.request.until(index, generating=True)
            change = self.first_view_change(before)
            if change is not None:
                return change
            if not steady:
                return None if _same(self.teller.turn(Turn(before, last)), self.told[index]) else last
        return last if unsteady == last else None

    def first_view_change(self, before: Request) -> int | None:
        """The first watched message but the last that is viewed otherwise. Where facts are equal, so are views."""
        end, settled = Turn(before), self.settled
        if self.since is math.inf and settled is not None and settled == {fact: fact(end) for fact in settled}:
            return None
        known, self.facts = self.facts, {fact: fact(end) for fact in self.facts}
        if known != self.facts:
            self.look_again(known)
        inner = bisect_left(self.watched, len(before.messages) - 1)
        while self.change is None and self.viewed < inner:
            if self.told_alike(Turn(before, self.watched[self.viewed])):
                self.viewed += 1
            else:
                self.change = self.watched[self.viewed]
        self.facts.update(before.facts)
        return self.change

    def look_again(self, known: Mapping[Fact, Hashable]) -> None:
        """Some facts have changed: at all messages, or at those behind the first place that one was or is."""
        both = ((value, self.facts[fact]) for fact, value in known.items())
        moved = [value for one, other in both if one != other for value in (one, other)]
        places = [value for value in moved if type(value) is int]
        first = min(places) if len(places) == len(moved) else 0
        if self.change is None or self.change >= first:
            self.viewed, self.change = min(self.viewed, bisect_left(self.watched, first)), None

    def told_alike(self, turn: Turn) -> bool:
        """Whether a message with a view is told the same in a beginning of the conversation."""
        index = turn.index or 0
        return self.teller.view(turn) == self.view(index) or _same(self.teller.turn(turn), self.told[index + 1])

    @cached_property
    def end(self) -> str:
        """The prompt at the end, which a turn that nothing prompts is cut by."""
        try:
            return self.prompts(len(self.told) - 1)
        except TemplateError:
            return ""

    @cached_property
    def unsteady(self) -> int | None:
        """The first message that these flags alone tell otherwise than those that were asked for."""
        told = zip(self.teller.told(self.request), self.told, strict=True)
        return next((number - 1 for number, (one, other) in enumerate(told) if not _same(one, other)), None)

    def view(self, index: int) -> Hashable:
        """What a message's telling depends on as it is told here."""
        known = self.request.views
        return known[index] if index in known else self.teller.view(Turn(self.request, index))


def _same(one: Told, other: Told) -> bool:
    """Whether two stretches become the same text, with the same words of it literal."""
    return one == other or (_length(one) == _length(other) and _wire(one) == _wire(other))


def _length(told: Told) -> int:
    length = 0
    for one in told:
        length += one.shape.length
        for text in one.texts:
            length += len(text)
    return length


def _wire(told: Told) -> list[tuple[bool, str]]:
    runs = groupby(segments_of(told), lambda segment: segment.literal)
    return [(literal, "".join(segment.text for segment in run)) for literal, run in runs]


def holds(told: Told, prompt: str) -> bool:
    """Whether a turn opens with a generation prompt, in the template's own words."""
    if told and told[0].shape.lead.startswith(prompt):
        return True
    words = ""
    for segment in segments_of(told):
        if not segment.literal or len(words) >= len(prompt):
            break
        words += segment.text
    return words.startswith(prompt)


def seamed(told: Told, prompt: str) -> Iterable[Said]:
    """A turn in which what its generation prompt holds is scaffold: the model never writes that."""
    if not prompt or not told or told[0].shape.parts[0] == (Kind.SCAFFOLD, prompt) or not holds(told, prompt):
        return told
    opening, *rest = told
    shape = prompted(opening.shape, len(prompt)) if isinstance(opening, Phrase) else None
    if shape is None:
        return _seamed(segments_of(told), len(prompt))
    return (Phrase(shape, opening.message, opening.texts, opening.origins), *rest)


def _seamed(segments: Iterable[Segment], left: int) -> Iterator[Segment]:
    for segment in segments:
        cut = min(left, len(segment.text))
        left -= cut
        if cut:
            yield segment.but(text=segment.text[:cut], kind=Kind.SCAFFOLD)
        if cut < len(segment.text):
            yield segment.but(text=segment.text[cut:]) if cut else segment
