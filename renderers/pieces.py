"""Streams as pieces: what is encoded together, what cuts it, and which segments lie end to end under it.

Text is cut at control tokens, at the end of a row, and at the *seam* where what was told meets what was sampled, or
what was sampled of one message meets that of the next, because inference cuts there. Words of a template may spell
control tokens; data may not.

A shape is looked at once for each vocabulary: its words with NUL in place of their control tokens. From then on a batch
is one join of these and its data. Where that would not do (data holds a NUL, words end like a control token
begins), and where control tokens are read in data too, `cut` goes by segments.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from renderers.engines import CUT, NO_TEXT, Texts
from renderers.segments import Kind, Said, Segment, Shape, Stream
from renderers.tokenizer import Part, Tokenizer

KINDS = tuple(Kind)
CODE = {kind: code for code, kind in enumerate(KINDS)}
SAMPLED = np.array([kind.sampled for kind in KINDS])
NO_TOKEN = -1
PLACE = NO_TEXT
"""Of data between words."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """By turns a text and what cuts it off from the next."""

    texts: Texts
    """Many of them empty."""
    tokens: np.ndarray
    """The control token after each text, or `NO_TOKEN`: int32."""
    sizes: np.ndarray
    """Bytes that this token was spelled with: int64."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The segments of a batch, end to end."""

    sizes: np.ndarray
    """Bytes."""
    kinds: np.ndarray
    """Places in `KINDS`."""
    messages: np.ndarray
    """-1: the whole conversation."""
    shown: np.ndarray
    """Whether it is one of its stream's `segments`: empty ones of a phrase are not."""
    rows: np.ndarray
    """Where each row's begin, and the end."""

    @classmethod
    def of(cls, streams: Sequence[Stream]) -> "Layout":
        """By segments, one by one."""
        segments = list(chain.from_iterable(stream.segments for stream in streams))
        return cls(
            sizes=np.fromiter((size_of(segment.text) for segment in segments), np.int64),
            kinds=np.fromiter((CODE[segment.kind] for segment in segments), np.int8),
            messages=np.fromiter((_number(segment.message) for segment in segments), np.int64),
            shown=np.ones(len(segments), bool),
            rows=sums(len(stream.segments) for stream in streams),
        )


class Ragged:
    """Rows of a table that grows."""

    def __init__(self, dtype: type):
        self.dtype, self.rows = dtype, list[Sequence[int]]()
        self._taken: tuple[np.ndarray, np.ndarray] = np.zeros(0, dtype), sums(())

    def take(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of these numbers end to end, and the length of each."""
        flat, at = self._taken
        if len(at) <= len(self.rows):
            at = sums(map(len, self.rows))
            flat = np.fromiter(chain.from_iterable(self.rows), self.dtype, at[-1])
            self._taken = flat, at
        counts = np.diff(at)[numbers]
        places = np.repeat(at[numbers] - sums(counts)[:-1], counts) + np.arange(counts.sum())
        return flat[places], counts


class Wires(dict[Shape, int]):
    """The number of every shape seen so far, for one vocabulary; cut at seams or not."""

    def __init__(self, tokenizer: Tokenizer, *, seam: bool):
        super().__init__()
        self.tokenizer, self.seam = tokenizer, seam
        self.starts = {text[:end] for text in tokenizer.control for end in range(1, len(text))}
        """How control tokens begin."""
        self.token_sizes = np.zeros(max(tokenizer.control.values(), default=0) + 2, np.int64)
        self.token_sizes[list(tokenizer.control.values())] = list(map(size_of, tokenizer.control))
        self.forms = list[bytes]()
        """Of each shape: its words around `PLACE`, with `CUT` in place of control tokens, and at its seam,"""
        self.tokens, self.kinds, self.sizes = Ragged(np.int32), Ragged(np.int8), Ragged(np.int64)
        """its control tokens; of its segments the kinds, and the bytes (-1: data)."""
        self.unsafe = set[int]()
        """Shapes of which control tokens may begin in the words and end in what follows them."""

    def __missing__(self, shape: Shape) -> int:
        said = [words for _, words in shape.parts if words is not None]
        read, forms, tokens = iter(self.tokenizer.split_batch(said)), list[bytes](), list[int]()
        for before, (kind, words) in zip(chain((None,), shape.parts), shape.parts):  # noqa: B905
            if self.seam and before and kind.sampled and not before[0].sampled:
                forms.append(CUT)
                tokens.append(NO_TOKEN)
            row = next(read) if words is not None else ()
            forms += [PLACE] if words is None else [CUT if p.id is not None else p.text.encode() for p in row]
            tokens += [part.id for part in row if part.id is not None]
        if CUT.decode() in "".join(said) or any(map(self._begins_token, said)):
            self.unsafe.add(len(self))
        self.forms.append(b"".join(forms))
        self.tokens.rows.append(tokens)
        self.kinds.rows.append([CODE[kind] for kind, _ in shape.parts])
        self.sizes.rows.append([-1 if words is None else size_of(words) for _, words in shape.parts])
        return self.setdefault(shape, len(self))

    def _begins_token(self, words: str) -> bool:
        longest = max(map(len, self.starts), default=0)
        return any(words[-end:] in self.starts for end in range(1, min(len(words), longest) + 1))


WIRES: WeakKeyDictionary[Tokenizer, dict[bool, Wires]] = WeakKeyDictionary()
"""By whether they are cut at seams."""
MANY = 1 << 16
"""Shapes after which all are forgotten: a traced template makes new ones all the time."""


def _wires(tokenizer: Tokenizer, *, seam: bool) -> Wires:
    both = WIRES.setdefault(tokenizer, {})
    if seam not in both or len(both[seam]) > MANY:
        both[seam] = Wires(tokenizer, seam=seam)
    return both[seam]


def weave(streams: Sequence[Stream], tokenizer: Tokenizer, *, seam: bool) -> tuple[Pieces, Layout] | None:
    """The pieces of a batch, by phrases; None where they must be found by segments."""
    if tokenizer.sticky:
        return None
    wires, phrases = _wires(tokenizer, seam=seam), [stream.told for stream in streams]
    told = list(chain.from_iterable(phrases))
    known = list(map(wires.__getitem__, [one.shape for one in told]))
    if not wires.unsafe.isdisjoint(known):
        return None
    numbers = np.fromiter(known, np.int64, len(known))
    rows = sums(map(len, phrases))
    kinds, counts = wires.kinds.take(numbers)
    sizes = wires.sizes.take(numbers)[0]
    data, texts = sizes < 0, list(map(str.encode, chain.from_iterable([one.texts for one in told])))
    sizes[data] = np.fromiter(map(len, texts), np.int64, len(texts))
    layout = _layout(told, rows, kinds, counts, sizes)
    seams, forms = _seams(layout, rows, counts) if seam else [], [b"", *[wires.forms[k] for k in known]]
    for k in seams:
        forms[k + 1] = CUT + forms[k + 1]
    for end in rows[1:].tolist():
        forms[end] += CUT
    tokens, many = wires.tokens.take(numbers)
    tokens = np.insert(tokens, sums(many)[np.append(rows[1:], seams).astype(np.int64)], NO_TOKEN)
    line = _filled(b"".join(forms), texts)
    if np.count_nonzero(np.frombuffer(line, np.uint8) == 0) != len(tokens):  # data holds a `CUT`
        return None
    return Pieces(Texts(line), tokens, wires.token_sizes[tokens]), layout


def _filled(form: bytes, texts: Sequence[bytes]) -> bytes:
    """Words with a text at each `PLACE`."""
    line = [b""] * (2 * len(texts) + 1)
    line[::2], line[1::2] = form.split(PLACE), texts
    return b"".join(line)


def _layout(told: Sequence[Said], rows: np.ndarray, kinds: np.ndarray, counts: np.ndarray, sizes: np.ndarray) -> Layout:
    messages = np.fromiter([-1 if one.message is None else one.message for one in told], np.int64, len(told))
    shown, at = sizes > 0, sums(counts)
    empty = np.flatnonzero(~shown)
    shown[empty] = [type(told[k]) is Segment for k in (np.searchsorted(at, empty, side="right") - 1).tolist()]
    return Layout(sizes, kinds, np.repeat(messages, counts), shown, at[rows])


def _seams(layout: Layout, rows: np.ndarray, counts: np.ndarray) -> list[int]:
    """Phrases that begin with sampled text where what stands before them was told, or sampled of another message.

    Those that go over to sampled text themselves are cut there by their wires.
    """
    some = np.flatnonzero(layout.sizes)
    sampled, messages = SAMPLED[layout.kinds[some]], layout.messages[some]
    meet = some[1:][sampled[1:] & (~sampled[:-1] | (messages[1:] != messages[:-1]))]
    at = sums(counts)
    phrases = np.searchsorted(at, meet, side="right") - 1
    phrases = phrases[SAMPLED[layout.kinds[at[phrases]]]]
    return phrases[~np.isin(phrases, rows)].tolist() if len(phrases) else []


def cut(streams: Sequence[Stream], tokenizer: Tokenizer, *, seam: bool, parse: bool) -> list[list[Part]]:
    """The pieces of each stream, by segments; `parse`: control tokens are read wherever they are spelled."""
    told = [_stretches(stream.segments, seam=seam, parse=parse) for stream in streams]
    literals = list({text: None for stretches in told for text, literal, _ in stretches if literal})
    parts = dict(zip(literals, tokenizer.split_batch(literals), strict=True))
    return [_joined(stretches, parts) for stretches in told]


def in_line(rows: Iterable[Iterable[Part]]) -> Pieces:
    """What `cut` found, end to end."""
    parts = list(chain.from_iterable(rows))
    return Pieces(
        texts=Texts.of(["" if part.id is not None else part.text for part in parts]),
        tokens=np.fromiter((NO_TOKEN if part.id is None else part.id for part in parts), np.int32, len(parts)),
        sizes=np.fromiter((0 if part.id is None else size_of(part.text) for part in parts), np.int64, len(parts)),
    )


def _stretches(segments: Iterable[Segment], *, seam: bool, parse: bool) -> list[tuple[str, bool, bool]]:
    """Neighbouring segments as (text, may spell control tokens, begins at a seam)."""
    runs: list[tuple[list[str], bool, bool]] = []
    writer = literal_before = None
    for segment in segments:
        if not segment.text:
            continue
        before, writer = writer, segment.message if segment.kind.sampled else -1
        literal = parse or segment.literal
        at_seam = seam and segment.kind.sampled and before is not None and writer != before
        if not runs or at_seam or literal != literal_before:
            runs.append(([], literal, at_seam))
        runs[-1][0].append(segment.text)
        literal_before = literal
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


def sums(sizes: Iterable[int] | np.ndarray, dtype: type = np.int64) -> np.ndarray:
    """Where things of these sizes begin when they lie end to end, and the end: one more than sizes."""
    sizes = sizes if isinstance(sizes, np.ndarray) else np.fromiter(sizes, np.int64)
    begins = np.zeros(len(sizes) + 1, dtype)
    np.cumsum(sizes, out=begins[1:])
    return begins


def between(line: Any, bounds: np.ndarray) -> Iterator[Any]:
    """What lies between each two of these bounds."""
    ends = bounds.tolist()
    return map(line.__getitem__, map(slice, ends, ends[1:]))


def size_of(text: str) -> int:
    """Bytes of this text."""
    return len(text) if text.isascii() else len(text.encode())


def _number(message: int | None) -> int:
    return -1 if message is None else message
