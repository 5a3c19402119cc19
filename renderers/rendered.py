"""Streams in, token ids out, every token owned by one segment. The only place where text becomes ids.

All texts of a batch lie end to end on one line of bytes. Segments cut the line by meaning, pieces by what is encoded
together. Tokens have fixed byte lengths: each token's first byte is a cumulative sum away, and a segment's first token
is a binary search among those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal, NamedTuple, get_args, overload

import numpy as np

from renderers.errors import TokenizerError, UnknownFlag
from renderers.media import MultiModalData, multi_modal_data
from renderers.pieces import Layout, Pieces, cut, in_line, sums, weave
from renderers.segments import Kind, Segment, Stream
from renderers.tokenizer import Part, Tokenizer

SpecialText = Literal["text", "parse", "reject"]
"""Data that spells a control token: stays text; becomes one, as upstream has it; is refused."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of tokens with one kind and one message, half open."""

    start: int
    end: int
    kind: Kind
    message: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A stream and its ids."""

    stream: Stream
    ids: np.ndarray
    """int32, (tokens,)"""
    owners: np.ndarray
    """int32, (tokens,): the segment in which each token's first byte lies."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.stream.segments

    @property
    def text(self) -> str:
        return self.stream.text

    @property
    def multi_modal_data(self) -> MultiModalData | None:
        """Where media stand, and what was made of them; None where there are none."""
        return multi_modal_data(self.stream, self.owners)

    @property
    def token_ids(self) -> list[int]:
        """The ids, as a list."""
        return self.ids.tolist()

    @property
    def message_indices(self) -> list[int]:
        """The message that says each token; -1 for scaffold, which nobody says."""
        said = [-1 if s.kind is Kind.SCAFFOLD or s.message is None else s.message for s in self.segments]
        return np.asarray(said, np.int32)[self.owners].tolist()

    @property
    def sampled_mask(self) -> list[bool]:
        """Which tokens the model writes, be they trainable or not."""
        return np.asarray([segment.kind.sampled for segment in self.segments], bool)[self.owners].tolist()

    def spans(self) -> list[Span]:
        """What the tokens are, run by run."""
        starts = np.flatnonzero(np.diff(self.owners, prepend=-1)).tolist()
        owned = [(start, self.segments[self.owners[start]]) for start in starts]
        runs = [(key, next(run)[0]) for key, run in groupby(owned, lambda o: (o[1].kind, o[1].message))]
        ends = [*(start for _, start in runs), len(self.ids)][1:]
        return [Span(start, end, kind, message) for ((kind, message), start), end in zip(runs, ends, strict=True)]


class Runs(NamedTuple):
    """Stretches of tokens with one kind and one message, in columns."""

    starts: np.ndarray
    lengths: np.ndarray
    rows: np.ndarray
    kinds: np.ndarray
    """Places in `pieces.KINDS`."""
    messages: np.ndarray
    """-1: the whole conversation."""


class Batch(Sequence[Rendered]):
    """Conversations encoded together: a `Rendered` each, made when asked for; and columns of all their tokens."""

    def __init__(self, streams: Sequence[Stream], ids: np.ndarray, counts: np.ndarray, layout: Layout):
        self.streams = streams
        self.ids = ids
        """Of all rows end to end: int32, (tokens,)"""
        self._counts, self._layout = counts, layout
        self.rows = sums(counts)[layout.rows]
        """Where each row's tokens begin, and the end: int64, (rows + 1,)"""

    def __len__(self) -> int:
        return len(self.streams)

    @overload
    def __getitem__(self, index: int) -> Rendered: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rendered]: ...
    def __getitem__(self, index: int | slice) -> Rendered | list[Rendered]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        own = slice(*self._layout.rows[row : row + 2])
        owners = np.repeat(np.cumsum(self._layout.shown[own]) - 1, self._counts[own])
        return Rendered(self.streams[row], self.ids[slice(*self.rows[row : row + 2])], owners.astype(np.int32))

    @cached_property
    def runs(self) -> Runs:
        """What the tokens are."""
        held = np.flatnonzero(self._counts)
        columns = (
            np.repeat(np.arange(len(self)), np.diff(self._layout.rows))[held],
            self._layout.kinds[held],
            self._layout.messages[held],
        )
        changes = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
        new = np.flatnonzero(np.append(True, changes)[: len(held)])
        starts = sums(self._counts[held])[new]
        return Runs(starts, np.diff(np.append(starts, len(self.ids))), *(column[new] for column in columns))


@dataclass(frozen=True, slots=True)
class Woven:
    """A batch before the engine has it."""

    streams: Sequence[Stream]
    pieces: Pieces
    layout: Layout

    def encode(self, tokenizer: Tokenizer) -> Batch:
        """The batch with its ids: one engine call, which needs no interpreter, and not much beside it."""
        bounds = sums(self.layout.sizes)
        ids, places = _encode(self.pieces, bounds, tokenizer)
        counts = np.diff(np.searchsorted(places, bounds.astype(places.dtype)))
        return Batch(self.streams, ids, counts, self.layout)


def encode(
    streams: Sequence[Stream], tokenizer: Tokenizer, *, seam: bool = True, special_text: SpecialText = "text"
) -> Batch:
    """Encode a batch of streams: one engine call, however many.

    Template text (`literal`) may spell control tokens; data may not, and stays text (`special_text="text"`). "parse"
    reads control tokens wherever they are spelled: with `seam=False`, upstream's joint ids. "reject" raises
    TokenizerError naming the data that spells one. So does, in every mode, text with a lone surrogate.
    """
    return woven_of(streams, tokenizer, seam=seam, special_text=special_text).encode(tokenizer)


def woven_of(
    streams: Sequence[Stream], tokenizer: Tokenizer, *, seam: bool = True, special_text: SpecialText = "text"
) -> Woven:
    """As `encode`, which comes in two halves for who has something else to do meanwhile. Raises as it does."""
    if special_text not in get_args(SpecialText):
        raise UnknownFlag(f"special_text={special_text!r}: takes {', '.join(get_args(SpecialText))}")
    try:
        woven = weave(streams, tokenizer, seam=seam) if special_text == "text" else None
        return Woven(streams, *(woven or _cut(streams, tokenizer, seam=seam, special_text=special_text)))
    except UnicodeEncodeError:
        raise _not_unicode(streams) from None


def _cut(
    streams: Sequence[Stream], tokenizer: Tokenizer, *, seam: bool, special_text: SpecialText
) -> tuple[Pieces, Layout]:
    layout, parts = Layout.of(streams), cut(streams, tokenizer, seam=seam, parse=special_text == "parse")
    if special_text == "reject":
        _refuse(streams, parts, cut(streams, tokenizer, seam=seam, parse=True))
    return in_line(parts), layout


def _encode(pieces: Pieces, bounds: np.ndarray, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Ids, and the byte of the line at which each token begins. `bounds`: where segments begin, and the end."""
    ids, openings = _put(*tokenizer.encode_flat(pieces.texts), pieces.tokens)
    sizes = pieces.texts.sizes
    line = sums(sizes + pieces.sizes)
    begins, ends = line[:-1], line[:-1] + sizes
    some = np.flatnonzero(~pieces.texts.ascii) if tokenizer.measures_ascii else np.arange(len(sizes))
    first, last = np.searchsorted(bounds, begins[some], side="right"), np.searchsorted(bounds, ends[some], side="left")
    odd = [k for k in some[last > first].tolist() if not tokenizer.measurable(pieces.texts[k])]
    short = np.int32 if line[-1] < 1 << 29 else np.int64
    places = np.zeros(len(ids) + 1, short) if tokenizer.nbytes is None else sums(tokenizer.nbytes.take(ids), short)
    if not odd and np.array_equal(places[openings], line):
        return ids, places[:-1]
    places = places[:-1] + np.repeat(begins - places[openings[:-1]], np.diff(openings))
    control = pieces.tokens >= 0
    places[openings[1:][control] - 1] = ends[control]
    for k, (_, at) in zip(odd, tokenizer.measure_batch([pieces.texts[k] for k in odd]), strict=True):
        places[openings[k] : openings[k] + len(at)] = line[k] + np.minimum(at, sizes[k] - 1)
    return ids, np.maximum.accumulate(places)


def _put(told: np.ndarray, ends: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the texts with the control tokens after them; where each text's begin, and the end."""
    control = tokens >= 0
    openings = ends + np.append(0, np.cumsum(control))
    ids, spots = np.empty(openings[-1], np.int32), openings[1:][control] - 1
    free = np.ones(len(ids), bool)
    free[spots] = False
    ids[free], ids[spots] = told, tokens[control]
    return ids, openings


def _refuse(streams: Sequence[Stream], pieces: Sequence[Sequence[Part]], parsed: Sequence[Sequence[Part]]) -> None:
    """Raise for the first control token that upstream would read and that no template wrote."""
    for number, (stream, ours, upstream) in enumerate(zip(streams, pieces, parsed, strict=True)):
        for start, end, text in sorted(_controls(upstream) - _controls(ours)):
            at = 0
            for segment in stream.segments:
                at, begins = at + len(segment.text), at
                if not segment.literal and begins < end and start < at:
                    raise TokenizerError(f"stream {number}: {_where(segment)} spells the control token {text!r}")


def _controls(pieces: Sequence[Part]) -> set[tuple[int, int, str]]:
    """Control tokens with the characters that spell them: not the blanks that some swallow beside them."""
    found, at = set(), 0
    for text, token in pieces:
        if token is not None:
            start = at + len(text) - len(text.lstrip())
            found.add((start, start + len(text.strip()), text.strip()))
        at += len(text)
    return found


def _not_unicode(streams: Sequence[Stream]) -> TokenizerError:
    number, bad = next((n, s) for n, stream in enumerate(streams) for s in stream.segments if not _is_unicode(s.text))
    return TokenizerError(f"stream {number}: {_where(bad)} holds a lone surrogate, which is no Unicode text")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _where(segment: Segment) -> str:
    """A segment's place in the input, for people."""
    if segment.origin is not None:
        return "/".join(map(str, segment.origin))
    return "the template" if segment.message is None else f"message {segment.message} ({segment.kind})"
