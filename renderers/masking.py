"""What is learned: one bool a token, decided by what the token is and whether its turn is proved.

A token is trained if the model itself writes it (`kind.sampled`), the policy wants its kind, and its message is
trainable: proved to be what inference would see, with no field lost (`Stream.trainable`). No policy can widen that.

Decided run by run, on columns (`RunColumns`), because that is what stored rows hold; `loss_mask` and `labels` are the
same for a `Rendered`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from renderers.rendered import Rendered
from renderers.segments import SAMPLED, Kind

IGNORED = -100
"""The label that trainers leave out of the loss."""


@dataclass(frozen=True, slots=True)
class LossPolicy:
    """Which of the sampled kinds are learned, and of which turns."""

    name: str
    kinds: frozenset[Kind] = SAMPLED
    last_turn_only: bool = False
    """Learn only what follows the last user message."""

    def __post_init__(self):
        if told := sorted(self.kinds - SAMPLED):
            raise ValueError(f"policy {self.name}: {', '.join(told)} is told to the model, never trained")

    def but(self, *, kinds: Collection[Kind] | None = None, last_turn_only: bool | None = None) -> "LossPolicy":
        """This policy with a target's own wishes in place of its own; None keeps what it has."""
        return replace(
            self,
            kinds=self.kinds if kinds is None else frozenset(kinds),
            last_turn_only=self.last_turn_only if last_turn_only is None else last_turn_only,
        )


POLICIES: dict[str, LossPolicy] = {
    "assistant": LossPolicy("assistant"),
    "answers": LossPolicy("answers", frozenset({Kind.ANSWER, Kind.STOP})),
    "no_reasoning": LossPolicy("no_reasoning", SAMPLED - {Kind.REASONING}),
    "tool_calls": LossPolicy("tool_calls", frozenset({Kind.TOOL_CALL, Kind.STOP})),
    "last_turn": LossPolicy("last_turn", last_turn_only=True),
}


@dataclass(frozen=True, slots=True)
class RunColumns:
    """A rendered row as runs: a run begins where it says and ends where the next begins."""

    starts: Sequence[int]
    kinds: Sequence[Kind]
    messages: Sequence[int]
    """-1: the whole conversation."""
    trainable: Collection[int]
    """Messages that are proved, and of which nothing is lost."""
    length: int
    """Tokens of the row."""

    @classmethod
    def of(cls, rendered: Rendered) -> "RunColumns":
        spans = rendered.spans()
        return cls(
            starts=[span.start for span in spans],
            kinds=[span.kind for span in spans],
            messages=[-1 if span.message is None else span.message for span in spans],
            trainable=rendered.stream.trainable,
            length=len(rendered.ids),
        )


def trained_runs(runs: RunColumns, policy: LossPolicy) -> list[bool]:
    """For each run, whether it is learned."""
    asked = -1
    if policy.last_turn_only:
        asked = max((m for kind, m in zip(runs.kinds, runs.messages, strict=True) if kind == Kind.USER), default=-1)
    return [
        kind in policy.kinds and message in runs.trainable and message > asked
        for kind, message in zip(runs.kinds, runs.messages, strict=True)
    ]


def run_mask(runs: RunColumns, policy: LossPolicy) -> np.ndarray:
    """The loss mask of a row given as runs: bool, (tokens,)."""
    lengths = np.diff(np.asarray([*runs.starts, runs.length]))
    return np.repeat(np.asarray(trained_runs(runs, policy), bool), lengths)


def masked(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels, int32: the id where it is learned, -100 where it is not."""
    return np.where(mask, ids, IGNORED).astype(np.int32)


def loss_mask(rendered: Rendered, policy: LossPolicy) -> np.ndarray:
    """One bool a token: learned?"""
    return run_mask(RunColumns.of(rendered), policy)


def labels(rendered: Rendered, policy: LossPolicy) -> np.ndarray:
    """What a trainer reads beside `rendered.ids`."""
    return masked(rendered.ids, loss_mask(rendered, policy))
