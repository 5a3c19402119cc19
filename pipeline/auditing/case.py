"""One row as an audit sees it: what was said, what was rendered of it, what is trained."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pipeline.records import Conversation, MaskedRow, RenderedRow, Severity, Spans
from pipeline.targets import Target
from renderers.masking import IGNORED, LossPolicy
from renderers.messages import Message
from renderers.segments import SAMPLED, Kind, Verdict
from renderers.tokenizer import Tokenizer

KINDS = tuple(Kind)
WRITTEN = np.array([kind in SAMPLED for kind in KINDS])
"""By index into KINDS: does the model write this?"""


class Remark(NamedTuple):
    """What an audit says of a case; `audit()` gives it its name and its row."""

    severity: Severity
    detail: str
    message: int = -1


def error(detail: str, message: int = -1) -> Remark:
    """The row cannot be trusted in training."""
    return Remark("error", detail, message)


def warning(detail: str, message: int = -1) -> Remark:
    """Worth knowing."""
    return Remark("warning", detail, message)


@dataclass(frozen=True)
class Case:
    """A stored row, its conversation, and what it takes to read them. Nothing here asks a renderer."""

    conversation: Conversation
    rendered: RenderedRow
    masked: MaskedRow | None
    """None: masking rejected the row, so nothing of it is trained."""
    tokenizer: Tokenizer
    target: Target
    taught: frozenset[int] = frozenset()
    """Messages that earlier rows of the conversation train."""
    piece: int = 0
    """Which of the masked rows that were made of the rendered one."""

    @cached_property
    def policy(self) -> LossPolicy:
        """What this target wants to learn."""
        return self.target.loss_policy

    @property
    def told(self) -> tuple[Message, ...]:
        """The messages that the row tells: it ends with one of the model's."""
        if self.rendered.whole or not self.rendered.proofs:
            return self.conversation.answered
        return self.conversation.messages[: self.rendered.proofs[-1].message + 1]

    def message(self, index: int) -> Message | None:
        """A message that the row tells, if it has so many."""
        messages = self.told
        return messages[index] if 0 <= index < len(messages) else None

    @cached_property
    def spans(self) -> np.ndarray:
        """int, (tokens,): the span of each token. Broken spans give wrong ones, not an exception; `lengths` tells."""
        starts = Spans.of(self.rendered.spans).starts
        return np.maximum(np.searchsorted(starts, np.arange(len(self.rendered.input_ids)), side="right") - 1, 0)

    @cached_property
    def kinds(self) -> np.ndarray:
        """int, (tokens,): the kind of each token, as index into KINDS."""
        return self._by_span(Spans.of(self.rendered.spans).kinds)

    @cached_property
    def messages(self) -> np.ndarray:
        """int, (tokens,): the message of each token; -1 for the whole conversation."""
        return self._by_span(Spans.of(self.rendered.spans).messages)

    def _by_span(self, values: np.ndarray) -> np.ndarray:
        return np.append(values, np.int64(0))[self.spans]

    @cached_property
    def trained(self) -> np.ndarray:
        """bool, (tokens,): is this token of the rendered row trained?"""
        mask = np.zeros(len(self.rendered.input_ids), bool)
        if self.masked is not None:
            places = self.places[: len(self.masked.labels)]
            mask[places] = self.masked.labels[: len(places)] != IGNORED
        return mask

    @cached_property
    def places(self) -> np.ndarray:
        """int, (tokens,): where each token of the masked row stands in the rendered row."""
        parts = self.masked.parts if self.masked else ()
        whole = np.arange(len(self.rendered.input_ids))
        return np.concatenate([whole[part.start : part.end] for part in parts]) if parts else whole

    @cached_property
    def trained_messages(self) -> tuple[int, ...]:
        """Messages of which at least one token is trained that the model writes."""
        return tuple(np.unique(self.messages[self.trained & WRITTEN[self.kinds]]).tolist())

    @cached_property
    def proved_messages(self) -> tuple[int, ...]:
        """Trained messages that are not trained on trust alone, behind all that was told before them."""
        if self.masked and len(self.masked.parts) > 1:
            return ()  # turns between were left out: that is no prefix of this conversation
        trusted = {proof.message for proof in self.rendered.proofs if proof.verdict == Verdict.TRUSTED}
        return tuple(index for index in self.trained_messages if index not in trusted)

    @cached_property
    def is_control(self) -> np.ndarray:
        """bool, (tokens,): is this a control token, which no data can spell?"""
        return np.isin(self.rendered.input_ids, np.fromiter(self.tokenizer.control.values(), int))

    @cached_property
    def ids(self) -> np.ndarray:
        """Ids that can be decoded: no engine takes a negative one; `lengths` tells of it."""
        return np.maximum(self.rendered.input_ids, 0)

    def decode(self, start: int, end: int) -> str:
        """The text of these tokens."""
        return self.tokenizer.decode(self.ids[start:end].tolist())

    def text(self, where: np.ndarray) -> str:
        """What stands where the mask is set, and one token around it: a token may reach over a border."""
        near = where.copy()
        near[1:] |= where[:-1]
        near[:-1] |= where[1:]
        return self.tokenizer.decode(self.ids[near].tolist())


def stretches(where: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end of each unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


Audit = Callable[[Case], Iterator[Remark]]
"""Says what is wrong with a case, or nothing."""
