"""Streams in, token ids out, every token owned by one segment. The only place where text becomes ids.

All texts of a batch lie end to end on one line of bytes. Segments cut the line by meaning. Pieces cut it by what is
encoded together: at control tokens, and at the *seam* where what was told meets what was sampled, because inference
cuts there. Tokens have fixed byte lengths: each token's first byte is a cumulative sum away, its owner a binary search.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Literal, get_args

import numpy as np

from renderers.errors import TokenizerError, UnknownFlag
from renderers.media import MultiModalData, multi_modal_data
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


def encode(
    streams: Sequence[Stream], tokenizer: Tokenizer, *, seam: bool = True, special_text: SpecialText = "text"
) -> list[Rendered]:
    """Encode a batch of streams: one engine call, however many.

    Template text (`literal`) may spell control tokens; data may not, and stays text (`special_text="text"`). "parse"
    reads control tokens wherever they are spelled: with `seam=False`, upstream's joint ids. "reject" raises
    TokenizerError naming the data that spells one. So does, in every mode, text with a lone surrogate.
    """
    if special_text not in get_args(SpecialText):
        raise UnknownFlag(f"special_text={special_text!r}: takes {', '.join(get_args(SpecialText))}")
    sizes = [_segment_sizes(number, stream) for number, stream in enumerate(streams)]
    pieces = _pieces(streams, tokenizer, seam=seam, parse=special_text == "parse")
    if special_text == "reject":
        _refuse(streams, pieces, _pieces(streams, tokenizer, seam=seam, parse=True))
    bounds = _sums(chain.from_iterable(sizes))
    ids, places, openings = _encode(list(chain.from_iterable(pieces)), bounds, tokenizer)
    owners = np.searchsorted(bounds[:-1], places, side="right") - 1
    first, cuts = _sums(map(len, sizes)), openings[_sums(map(len, pieces))]
    return [
        Rendered(stream, ids[start:end], (owners[start:end] - zero).astype(np.int32))
        for stream, zero, start, end in zip(streams, first, cuts, cuts[1:], strict=False)
    ]


def _encode(pieces: Sequence[Part], bounds: np.ndarray, tokenizer: Tokenizer) -> tuple[np.ndarray, ...]:
    """Ids; the byte of the line at which each token begins; the token at which each piece begins, and the end.

    `bounds`: the bytes at which segments begin, and the end.
    """
    line = _sums(_size(piece.text) for piece in pieces)
    measured = {k: pieces[k].text for k in _mixed(line, bounds) if not _measurable(pieces[k], tokenizer)}
    plain = list({piece.text: None for k, piece in enumerate(pieces) if piece.id is None and k not in measured})
    known = dict(zip(plain, tokenizer.encode_batch(plain), strict=True))
    found = dict(zip(measured, tokenizer.measure_batch(list(measured.values())), strict=True))
    told = [found[k][0] if k in found else known[p.text] if p.id is None else (p.id,) for k, p in enumerate(pieces)]
    openings = _sums(map(len, told))
    ids = np.fromiter(chain.from_iterable(told), np.int32, openings[-1])
    places = np.repeat(line[:-1], np.diff(openings))
    if tokenizer.nbytes is not None:
        before = _sums(tokenizer.nbytes[ids])
        places += before[:-1] - np.repeat(before[openings[:-1]], np.diff(openings))
    for k, (_, at) in found.items():
        places[openings[k] : openings[k + 1]] = line[k] + np.minimum(at, _size(pieces[k].text) - 1)
    return ids, places, openings


def _mixed(line: np.ndarray, bounds: np.ndarray) -> list[int]:
    """Pieces with a segment boundary inside."""
    inside = np.searchsorted(bounds, line[1:], side="left") > np.searchsorted(bounds, line[:-1], side="right")
    return np.flatnonzero(inside).tolist()


def _measurable(piece: Part, tokenizer: Tokenizer) -> bool:
    return piece.id is not None or tokenizer.measurable(piece.text)


def _sums(sizes: Iterable[int] | np.ndarray) -> np.ndarray:
    """Where things of these sizes begin when they lie end to end, and the end: int64, one more than sizes."""
    return np.append(0, np.cumsum(sizes if isinstance(sizes, np.ndarray) else np.fromiter(sizes, np.int64)))


def _pieces(streams: Sequence[Stream], tokenizer: Tokenizer, *, seam: bool, parse: bool) -> list[list[Part]]:
    """What is encoded together, stream by stream: the text between two cuts, and the control tokens that cut it."""
    told = [_stretches(stream.segments, seam=seam, parse=parse) for stream in streams]
    literals = list({text: None for stretches in told for text, literal, _ in stretches if literal})
    parts = dict(zip(literals, tokenizer.split_batch(literals), strict=True))
    return [_joined(stretches, parts) for stretches in told]


def _stretches(segments: Iterable[Segment], *, seam: bool, parse: bool) -> list[tuple[str, bool, bool]]:
    """Neighbouring segments as (text, may spell control tokens, begins at a seam)."""
    runs: list[tuple[list[str], bool, bool]] = []
    after_told = literal_before = False
    for segment in segments:
        if not segment.text:
            continue
        sampled, literal = segment.kind.sampled, parse or segment.literal
        at_seam = seam and sampled and after_told
        if not runs or at_seam or literal != literal_before:
            runs.append(([], literal, at_seam))
        runs[-1][0].append(segment.text)
        after_told, literal_before = not sampled, literal
    return [("".join(texts), literal, at_seam) for texts, literal, at_seam in runs]


def _joined(stretches: Iterable[tuple[str, bool, bool]], parts: dict[str, list[Part]]) -> list[Part]:
    pieces: list[Part] = []
    pending: list[str] = []

    def cut() -> None:
        if pending:
            pieces.append(Part("".join(pending), None))
            pending.clear()

    for text, literal, at_seam in stretches:
        if at_seam:
            cut()
        for part in parts[text] if literal else (Part(text, None),):
            if part.id is None:
                pending.append(part.text)
            else:
                cut()
                pieces.append(part)
    cut()
    return pieces


def _refuse(streams: Sequence[Stream], pieces: Sequence[Sequence[Part]], parsed: Sequence[Sequence[Part]]) -> None:
    """Raise for the first control token that upstream would read and that no template wrote."""
    for number, (stream, ours, upstream) in enumerate(zip(streams, pieces, parsed, strict=True)):
        for start, end, text in sorted(_controls(upstream) - _controls(ours)):
            at = 0
            for segment in stream.segments:
                at, begins = at + len(segment.text), at
                if not segment.literal and begins < end and start < at:
                    raise TokenizerError(f"stream {number}: {_where(segment)} spells the control token {text!r}")


def _controls(pieces: Iterable[Part]) -> set[tuple[int, int, str]]:
    """Control tokens with the characters that spell them: not the blanks that some swallow beside them."""
    found, at = set(), 0
    for text, token in pieces:
        if token is not None:
            start = at + len(text) - len(text.lstrip())
            found.add((start, start + len(text.strip()), text.strip()))
        at += len(text)
    return found


def _segment_sizes(number: int, stream: Stream) -> list[int]:
    try:
        return [_size(segment.text) for segment in stream.segments]
    except UnicodeEncodeError:
        bad = next(segment for segment in stream.segments if not _is_unicode(segment.text))
        raise TokenizerError(
            f"stream {number}: {_where(bad)} holds a lone surrogate, which is no Unicode text"
        ) from None


def _size(text: str) -> int:
    """Bytes of this text."""
    return len(text) if text.isascii() else len(text.encode())


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _where(segment: Segment) -> str:
    """A segment's place in the input, for people."""
    if segment.origin is not None:
        return "/".join(map(str, segment.origin))
    return "the template" if segment.message is None else f"message {segment.message} ({segment.kind})"
