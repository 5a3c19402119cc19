"""The words of the stream: what a renderer says, who said it, and whether inference would see it so."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import accumulate, chain, groupby
from typing import Any

import msgspec

Origin = tuple[str | int, ...]
"""A path into the input: ("messages", 3, "content") or ("tools", 0, "function", "name")."""


class Kind(StrEnum):
    """What a run of text is."""

    SCAFFOLD = "scaffold"
    TOOLS = "tools"
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    TOOL_RESULT = "tool_result"
    REASONING = "reasoning"
    ANSWER = "answer"
    TOOL_CALL = "tool_call"
    STOP = "stop"

    __hash__ = str.__hash__  # Enum's own is written in Python

    @property
    def sampled(self) -> bool:
        """Whether the model itself writes this at inference."""
        return self in SAMPLED


SAMPLED = frozenset({Kind.REASONING, Kind.ANSWER, Kind.TOOL_CALL, Kind.STOP})
KIND_OF = {"system": Kind.SYSTEM, "developer": Kind.DEVELOPER, "user": Kind.USER, "tool": Kind.TOOL_RESULT}


class Segment(msgspec.Struct, frozen=True, gc=False):
    """A run of text with one meaning."""

    text: str
    kind: Kind = Kind.SCAFFOLD
    message: int | None = None
    """The message it belongs to; None for what belongs to the whole conversation."""
    literal: bool = True
    """Words of the template: a control token spelled in them is one. Data (False) never holds a control token."""
    origin: Origin | None = None
    """Where data came from, and what a medium's place stands for; None for the template's other words."""

    def but(self, **changes: Any) -> "Segment":
        """This segment with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    @property
    def shape(self) -> "Shape":
        return literally(self.text, self.kind) if self.literal else PLACES[self.kind]

    @property
    def texts(self) -> tuple[str, ...]:
        return () if self.literal else (self.text,)

    @property
    def origins(self) -> tuple[Origin | None, ...]:
        return () if self.literal else (self.origin,)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What a phrase consists of: words of the template, and data between any two of them."""

    parts: tuple[tuple[Kind, str | None], ...]
    """What each is, and its words; None: data."""
    length: int = field(init=False)
    """Of the words, in characters."""
    places: int = field(init=False)
    """For data."""
    lead: str = field(init=False)
    """The words before all data."""
    stops: bool = field(init=False)
    """Whether it holds a stop."""

    def __post_init__(self):
        words = [words for _, words in self.parts]
        lead = words[: words.index(None)] if None in words else words
        length = sum(len(w) for w in words if w)
        found = {"length": length, "places": words.count(None), "lead": "".join(w for w in lead if w)}
        for name, value in {**found, "stops": any(kind is Kind.STOP for kind, _ in self.parts)}.items():
            object.__setattr__(self, name, value)


@lru_cache(maxsize=1 << 16)
def literally(text: str, kind: Kind) -> Shape:
    """The shape of words alone."""
    return Shape(((kind, text),))


PLACES = {kind: Shape(((kind, None),)) for kind in Kind}
"""The shapes of data alone."""


@lru_cache(maxsize=1 << 14)
def joint(*shapes: Shape) -> Shape | None:
    """Shapes as one; None where that would hide a seam: it may stand once, after words, and before some."""
    parts = tuple(chain.from_iterable(shape.parts for shape in shapes))
    runs = [list(run) for _, run in groupby(parts, lambda part: part[0].sampled)]
    told = not parts[0][0].sampled
    hidden = told and len(runs) > 1 and not (runs[0][-1][1] and any(words for _, words in runs[1]))
    return None if hidden or len(runs) > 2 + told else Shape(parts)


@lru_cache(maxsize=1 << 12)
def prompted(shape: Shape, size: int) -> Shape | None:
    """A shape of which so many characters are scaffold; None where they are not its first words."""
    parts = list[tuple[Kind, str | None]]()
    for kind, words in shape.parts:
        cut = min(size, len(words or ""))
        if words is None or cut < len(words):
            parts += [(Kind.SCAFFOLD, words[:cut])] if words and cut else []
            parts.append((kind, words and words[cut:]))
        else:
            parts.append((Kind.SCAFFOLD, words) if cut else (kind, words))
        size -= cut
        if size and words is None:
            return None
    return joint(Shape(tuple(parts))) if not size else None


class Phrase(msgspec.Struct, frozen=True, gc=False):
    """Segments that are told at once: a shape that many share, and the data in it. Most of a stream is told so."""

    shape: Shape
    message: int | None
    texts: tuple[str, ...] = ()
    origins: tuple[Origin | None, ...] = ()
    """Of each text."""

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def segments(self) -> Iterator[Segment]:
        """Those that hold text."""
        data = zip(self.texts, self.origins, strict=True)
        for kind, words in self.shape.parts:
            text, origin = next(data) if words is None else (words, None)
            if text:
                yield Segment(text, kind, self.message, words is not None, origin)


Said = Phrase | Segment
Told = tuple[Said, ...]
"""What is told of a message."""


def phrase(text: str, kind: Kind = Kind.SCAFFOLD, message: int | None = None) -> Phrase:
    """A template's own words."""
    return Phrase(literally(text, kind), message)


def together(
    shapes: tuple[Shape, ...], message: int | None, texts: tuple[str, ...], origins: tuple[Origin | None, ...]
) -> Told:
    """What is told of a message, as one phrase where it may be."""
    shape = joint(*shapes)
    return (Phrase(shape, message, texts, origins),) if shape is not None else _apart(shapes, message, texts, origins)


def _apart(
    shapes: tuple[Shape, ...], message: int | None, texts: tuple[str, ...], origins: tuple[Origin | None, ...]
) -> Told:
    """A phrase a shape."""
    ends = list(accumulate(shape.places for shape in shapes))
    return tuple(
        Phrase(shape, message, texts[end - shape.places : end], origins[end - shape.places : end])
        for shape, end in zip(shapes, ends, strict=True)
    )


def segments_of(told: Iterable[Said]) -> Iterator[Segment]:
    """Phrases taken apart."""
    for one in told:
        if isinstance(one, Segment):
            yield one
        else:
            yield from one.segments


class Verdict(StrEnum):
    """Is a turn, as rendered, what inference would see and the model would write?"""

    PROVED = "proved"
    HISTORY_REWRITTEN = "history rewritten"
    """Something before the turn is told differently than it was when the turn was sampled."""
    PROMPT_ABSENT = "generation prompt not in the render"
    """The prompt opens what the example does not show (`<think>\\n` is prompted, history has none)."""
    PROMPT_REFUSED = "prompt refused"
    """The template cannot tell the messages before this turn alone."""
    TURN_REWRITTEN = "turn rewritten by what follows"
    """The same turn reads differently as the last message than it does here."""
    SCATTERED = "told in two places"
    INVISIBLE = "no output"
    UNFAITHFUL = "not what the model wrote"
    """The trace holds something else: an answer that was cut off, a call that the agent rewrote."""
    SPLIT = "split"
    """Trained in another row of this conversation, where it is what inference would see."""
    TRUSTED = "trusted"
    """None of these: trained all the same, because that was asked for. The note says what is wrong with it."""


PROVED, TRUSTED = Verdict.PROVED, Verdict.TRUSTED
"""By name: in Python 3.11 a member is slow to look up."""


class Proof(msgspec.Struct, frozen=True, gc=False):
    """The verdict on one assistant message."""

    message: int
    verdict: Verdict
    note: str = ""
    """What differs and where; where it is proved, the switches that inference must set (`enable_thinking=False`)."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a processor makes of a medium."""

    tokens: int
    """How many the model reads."""
    features: Any = None
    """What else it reads: pixels, a grid; in the processor's own terms."""
    kind: str = ""
    digest: str = ""
    """sha256 of the bytes."""


class Stream(msgspec.Struct, frozen=True, dict=True):
    """One conversation as told by one witness."""

    told: Told
    proofs: tuple[Proof, ...] = ()
    """One for each assistant message, in order."""
    lost: tuple[Origin, ...] = ()
    """Fields of the input that hold something and are nowhere in the text."""
    asked: int = -1
    """The last user message of the conversation."""
    weights: Mapping[int, float] = {}
    """What messages weigh that say so (`Message.weight`)."""
    today: date | None = None
    """The day that the template was given, if it prints the date."""
    media: tuple[Expansion, ...] = ()
    """What was made of each medium, in order; nothing where none was asked for."""

    def but(self, **changes: Any) -> "Stream":
        """This stream with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(segments_of(self.told))

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def trainable(self) -> frozenset[int]:
        """Assistant messages that end with a stop, and are proved with nothing of them lost, or trusted."""
        found = {proof.message for proof in self.proofs if proof.verdict is PROVED}
        if self.lost:
            found -= {origin[1] for origin in self.lost if origin[0] == "messages"}
        found |= {proof.message for proof in self.proofs if proof.verdict is TRUSTED}
        return frozenset(found & self.stopped)

    @cached_property
    def stopped(self) -> frozenset[int | None]:
        """Messages that end with a stop."""
        return frozenset([one.message for one in self.told if one.shape.stops])
