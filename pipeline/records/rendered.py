"""Rows of tokens: rendered, masked, mixed; and what audits find in them. One number a token is a numpy array."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, overload

import msgspec
import numpy as np

from pipeline.records.row import Row
from renderers.pieces import CODE, KINDS
from renderers.segments import Kind, Verdict

Ids = Annotated[np.ndarray, "int32"]
Ones = Annotated[np.ndarray, "int8"]


class RowSpan(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stretch of tokens with one kind and one message; it ends where the next begins."""

    start: int
    kind: Kind
    message: int
    """-1: the whole conversation."""


class Spans(Sequence[RowSpan]):
    """What the tokens of a row are, in columns: a `RowSpan` is made when somebody looks at it."""

    __slots__ = ("kinds", "messages", "starts")

    def __init__(self, starts: np.ndarray, kinds: np.ndarray, messages: np.ndarray):
        """kinds: places in `KINDS`."""
        self.starts, self.kinds, self.messages = starts, kinds, messages

    @classmethod
    def of(cls, spans: Sequence[RowSpan]) -> "Spans":
        """These, in columns if they are not."""
        if isinstance(spans, Spans):
            return spans
        starts, messages = ([getattr(span, name) for span in spans] for name in ("start", "message"))
        kinds = [CODE[span.kind] for span in spans]
        return cls(np.array(starts, np.int64), np.array(kinds, np.int8), np.array(messages, np.int64))

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[RowSpan]:
        kinds = map(KINDS.__getitem__, self.kinds.tolist())
        return map(RowSpan, self.starts.tolist(), kinds, self.messages.tolist())

    @overload
    def __getitem__(self, index: int) -> RowSpan: ...
    @overload
    def __getitem__(self, index: slice) -> "Spans": ...
    def __getitem__(self, index: int | slice) -> "RowSpan | Spans":
        if isinstance(index, slice):
            return Spans(self.starts[index], self.kinds[index], self.messages[index])
        return RowSpan(int(self.starts[index]), KINDS[self.kinds[index]], int(self.messages[index]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __repr__(self) -> str:
        return repr(tuple(self))


class RowProof(msgspec.Struct, frozen=True, gc=False):
    """The verdict on one assistant message, as `renderers.segments.Proof`."""

    message: int
    verdict: str
    note: str = ""


class RenderedRow(Row, frozen=True, kw_only=True):
    """A conversation as token ids, and what each of them is.

    A conversation is one row, called like it; split, the rows that end with earlier turns follow it, and the id of each
    goes on with the message that it ends with: `<conversation>/3`.
    """

    conversation_id: str
    input_ids: Ids
    """int32, (tokens,)"""
    spans: Sequence[RowSpan]
    proofs: tuple[RowProof, ...]
    """One for each assistant message of this row, in order; the row ends with the last of them."""
    lost: tuple[str, ...] = ()
    """Fields that hold something and are nowhere in the text, as `messages/3/reasoning`."""
    trainable: tuple[int, ...] = ()
    """Assistant messages that are what the model wrote, and proved here with nothing of them lost, or trusted."""
    asked: int = -1
    """The last user message of the conversation, which may go on after the row."""
    today: dt.date | None = None
    """The day that the template was given, if it prints the date: the target's, else the conversation's."""
    weights: dict[int, float] = msgspec.field(default_factory=dict)
    """What messages weigh that say so; 0 is not learned."""

    @property
    def source(self) -> str:
        return self.conversation_id

    @property
    def whole(self) -> bool:
        """Whether it is all of its conversation."""
        return self.id == self.conversation_id

    def measures(self) -> Mapping[str, int]:
        trusted = sum(proof.verdict == Verdict.TRUSTED for proof in self.proofs if proof.message in self.trainable)
        return {
            "tokens": len(self.input_ids),
            "assistant messages": len(self.proofs) if self.whole else 0,
            "trainable messages": len(self.trainable),
            **({"trusted messages": trusted} if trusted else {}),
        }


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of a row, half open."""

    start: int
    end: int


class MaskedRow(Row, frozen=True, kw_only=True):
    """What a trainer reads: a rendered row, or what fits of it; split, the id of each piece goes on with its number."""

    conversation_id: str
    input_ids: Ids
    """int32, (tokens,)"""
    labels: Ids
    """int32, (tokens,): the id where it is learned, -100 where it is not."""
    attention_mask: Ones
    """int8, (tokens,): ones; rows are not padded here."""
    trained: dict[str, int]
    """Trained tokens by kind."""
    parts: tuple[Stretch, ...] = ()
    """The stretches of the rendered row that it holds; none: all of it."""
    cut: int = 0
    """Tokens that `max_length` cut away."""

    @property
    def source(self) -> str:
        return self.id.partition("#")[0]

    def measures(self) -> Mapping[str, int]:
        kinds = {f"trained {kind}": n for kind, n in self.trained.items()}
        return {"tokens": len(self.input_ids), "trained": sum(self.trained.values()), **kinds}


class MixedRow(Row, frozen=True, kw_only=True):
    """A sequence of a mixture as a trainer reads it: one row, or several end to end."""

    split: str
    rows: tuple[str, ...]
    """The masked rows that it holds, in order,"""
    sources: tuple[str, ...]
    """and the source of each."""
    input_ids: Ids
    """int32, (tokens,)"""
    labels: Ids
    """int32, (tokens,): the id where it is learned, -100 where it is not."""
    position_ids: Ids
    """int32, (tokens,): from 0 in each row."""
    seq_lengths: Ids
    """int32, (rows,): tokens of each row."""

    def measures(self) -> Mapping[str, int]:
        learned = int((self.labels != -100).sum())
        return {
            "tokens": len(self.input_ids),
            "trained": learned,
            "mixed rows": len(self.rows),
            self.split: len(self.rows),
        }


Severity = Literal["error", "warning"]


class Finding(Row, frozen=True, kw_only=True):
    """What an audit has to say of one row."""

    audit: str
    """A row of `auditing.AUDITS`."""
    severity: Severity
    row: str
    """The id of the rendered row."""
    message: int = -1
    detail: str
