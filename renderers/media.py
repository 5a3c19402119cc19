"""Media in messages: the place that a template gives one, and what the caller makes of it.

Nothing here opens a file or a connection. A template writes one place for a medium, as upstream's does; the caller
brings its bytes, and a processor that says how many tokens they are to the model. Without one, the place is one token.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from renderers.errors import TemplateError
from renderers.messages import Message, Part, Request
from renderers.segments import Expansion, Kind, Segment, Stream

SHOWN_BY = ("user", "tool")
"""Roles whose messages may hold media."""


@dataclass(frozen=True)
class Medium:
    """How a template tells a medium."""

    words: str
    """With the place `{pad}`."""
    pad: str
    """The token that stands for it, once for each of the processor's."""
    around: str = "{pad}"
    """What a processor makes of the pad, with the place `{pad}` for all of them."""
    label: str = ""
    """What counts it where the flag `add_vision_id` is set: "Picture"."""


class Processor(Protocol):
    """What a model's own processor says of a medium."""

    def __call__(self, kind: str, data: bytes) -> Expansion: ...


@dataclass(frozen=True)
class Media:
    """The bytes of media, and what to make of them. A `data:` URL brings its own."""

    process: Processor
    sources: Mapping[str, bytes] | Callable[[str], bytes] = field(default_factory=dict)
    """By `Part.source`; LookupError for one that is not known."""

    def expand(self, part: Part, place: str) -> Expansion:
        """Raises TemplateError naming the place of a medium that has no bytes, or no token."""
        source = part.source
        try:
            data = _inline(source) if source.startswith("data:") else self._bytes(source)
        except (LookupError, binascii.Error) as error:
            raise TemplateError(f"{place}: no bytes of the {part.kind} {source[:80]!r}: {error}") from error
        made = self.process(part.kind, data)
        if made.tokens < 1:
            raise TemplateError(f"{place}: the {part.kind} {source[:80]!r} is {made.tokens} tokens")
        return replace(made, kind=part.kind, digest=hashlib.sha256(data).hexdigest())

    def _bytes(self, source: str) -> bytes:
        return self.sources[source] if isinstance(self.sources, Mapping) else self.sources(source)


def _inline(url: str) -> bytes:
    head, _, data = url.partition(",")
    return base64.b64decode(data, validate=True) if head.endswith(";base64") else data.encode()


@dataclass(frozen=True, slots=True)
class PlaceholderRange:
    """Where the tokens of one medium stand."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class MultiModalData:
    """The media of a rendered conversation, by kind, each list in the order of the text."""

    mm_placeholders: dict[str, list[PlaceholderRange]]
    mm_hashes: dict[str, list[str]]
    """sha256 of the bytes, as far as they were given."""
    mm_items: dict[str, list[Any]]
    """What the processor made of each."""

    def behind(self, tokens: int) -> "MultiModalData":
        """The same with so many tokens before it."""
        moved = {
            kind: [PlaceholderRange(place.offset + tokens, place.length) for place in places]
            for kind, places in self.mm_placeholders.items()
        }
        return replace(self, mm_placeholders=moved)


def shown(request: Request, media: Mapping[str, Medium]) -> Request:
    """A request whose media have the words of a template for their text.

    Raises TemplateError where it has none, or the role may show nothing.
    """
    parted = [message for message in request.messages if not isinstance(message.content, str)]
    if not parted:
        return request
    counted = dict[str, int]()
    messages = (
        m if isinstance(m.content, str) else m.but(content=tuple(_shown(request, i, counted, media)))
        for i, m in enumerate(request.messages)
    )
    return request.but(messages=tuple(messages))


def _shown(request: Request, index: int, counted: dict[str, int], media: Mapping[str, Medium]) -> Iterator[Part]:
    message = request.messages[index]
    for part in message.content:
        assert isinstance(part, Part)
        if part.type == "text":
            yield part
            continue
        medium = media.get(part.kind)
        if medium is None or message.role not in SHOWN_BY:
            whose = f"{part.type!r} of the {message.role}'s" if medium else repr(part.type)
            raise TemplateError(f"message {index}, content: this template has no words for {whose}")
        counted[part.kind] = number = counted.get(part.kind, 0) + 1
        label = f"{medium.label} {number}: " if request.flags.get("add_vision_id", False) else ""
        yield Part(part.type, label + medium.words.replace("{pad}", medium.pad), part.source)


class Place(NamedTuple):
    """Where a medium is said."""

    message: int
    part: int
    kind: str


def place_of(segment: Segment) -> Place | None:
    """The medium that a segment stands for, if it does."""
    match segment.origin:
        case ("messages", int(message), "content", int(part), str(kind)) if kind != "text":
            return Place(message, part, kind)
    return None


def placed(told: Iterable[Segment], media: Mapping[str, Medium]) -> Iterator[Segment]:
    """The words of media as a template's own; the pad among them has the medium's origin."""
    for segment in told:
        place = place_of(segment)
        if place is None:
            yield segment
            continue
        before, pad, after = segment.text.partition(media[place.kind].pad)
        words = (before, Kind.SCAFFOLD, None), (pad, segment.kind, segment.origin), (after, Kind.SCAFFOLD, None)
        yield from (Segment(text, kind, segment.message, origin=origin) for text, kind, origin in words if text)


def expanded(stream: Stream, messages: Sequence[Message], words: Mapping[str, Medium], media: Media) -> Stream:
    """A stream in which every medium takes the tokens that it is."""
    segments, made = list[Segment](), list[Expansion]()
    for segment in stream.segments:
        place = place_of(segment)
        part = messages[place.message].content[place.part] if place else None
        if place is None or not isinstance(part, Part):
            segments.append(segment)
            continue
        made.append(media.expand(part, f"message {place.message}, content {place.part}"))
        before, after = words[place.kind].around.split("{pad}")
        segments += [Segment(before, message=segment.message)] if before else []
        segments.append(segment.but(text=segment.text * made[-1].tokens))
        segments += [Segment(after, message=segment.message)] if after else []
    return stream.but(told=tuple(segments), media=tuple(made))


def multi_modal_data(stream: Stream, owners: np.ndarray) -> MultiModalData | None:
    """Where media stand among tokens, and what was made of them; None where there are none."""
    told = [(index, place) for index, segment in enumerate(stream.segments) if (place := place_of(segment))]
    if not told:
        return None
    data = MultiModalData({}, {}, {})
    for index, place in told:
        tokens = np.flatnonzero(owners == index)
        data.mm_placeholders.setdefault(place.kind, []).append(PlaceholderRange(int(tokens[0]), len(tokens)))
    for made in stream.media:
        data.mm_hashes.setdefault(made.kind, []).append(made.digest)
        data.mm_items.setdefault(made.kind, []).append(made.features)
    return data
