"""What is learned: a weight a token. It hangs on what the token is, on its turn's proof, and on its message's weight.

What the model writes is learned if the policy wants its kind and its message is trainable: proved to be what inference
would see with no field lost, or trusted (`Stream.trainable`). No policy can widen that, and no weight. What somebody
told the model is learned only by a policy that names its kind, and is no model's writing; scaffold is never learned.

Decided run by run, on columns (`RunColumns`), because that is what stored rows hold; `loss_weights`, `loss_mask` and
`labels` are the same for a `Rendered`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

import numpy as np

from renderers.pieces import KINDS
from renderers.pieces import SAMPLED as WRITTEN
from renderers.rendered import Batch, Rendered, Runs
from renderers.segments import KIND_OF, SAMPLED, Kind

IGNORED = -100
"""The label that trainers leave out of the loss."""
ROLES: Mapping[str, frozenset[Kind]] = {"assistant": SAMPLED, **{role: frozenset({k}) for role, k in KIND_OF.items()}}
"""The kinds of what each role says."""
SAID = frozenset().union(*ROLES.values())


@dataclass(frozen=True, slots=True)
class LossPolicy:
    """Which kinds are learned, and of which turns."""

    name: str
    kinds: frozenset[Kind] = SAMPLED
    """What somebody said: a role's kinds are `ROLES[role]`."""
    last_turn_only: bool = False
    """Learn only what follows the last user message."""

    def __post_init__(self):
        if unsaid := sorted(self.kinds - SAID):
            raise ValueError(f"policy {self.name}: {', '.join(unsaid)} is nobody's words, never trained")

    @property
    def told(self) -> frozenset[Kind]:
        """What it learns of the words of others."""
        return self.kinds - SAMPLED

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
    """Messages whose turns may be learned."""
    length: int
    """Tokens of the row."""
    asked: int = -1
    """The last user message of the conversation, which may go on after the row."""
    weights: Mapping[int, float] = field(default_factory=dict)
    """What messages weigh; 1 where nothing is said."""

    @classmethod
    def of(cls, rendered: Rendered) -> "RunColumns":
        spans, stream = rendered.spans(), rendered.stream
        return cls(
            starts=[span.start for span in spans],
            kinds=[span.kind for span in spans],
            messages=[-1 if span.message is None else span.message for span in spans],
            trainable=stream.trainable,
            length=len(rendered.ids),
            asked=stream.asked,
            weights=stream.weights,
        )


def run_weights(runs: RunColumns, policy: LossPolicy) -> list[float]:
    """For each run, how much it is learned; 0 is not at all."""
    after = runs.asked if policy.last_turn_only else -1
    kinds, trainable, weights = policy.kinds, frozenset(runs.trainable), runs.weights
    return [
        weights.get(message, 1.0)
        if kind in kinds and message > after and (message in trainable or kind not in SAMPLED)
        else 0.0
        for kind, message in zip(runs.kinds, runs.messages, strict=True)
    ]


def trained_runs(runs: RunColumns, policy: LossPolicy) -> list[bool]:
    """For each run, whether it is learned."""
    return [weight > 0 for weight in run_weights(runs, policy)]


def token_weights(runs: RunColumns, policy: LossPolicy) -> np.ndarray:
    """How much each token of a row given as runs is learned: float32, (tokens,)."""
    return np.repeat(np.asarray(run_weights(runs, policy), np.float32), _lengths(runs))


def run_mask(runs: RunColumns, policy: LossPolicy) -> np.ndarray:
    """The loss mask of a row given as runs: bool, (tokens,)."""
    return np.repeat(np.asarray(run_weights(runs, policy)) > 0, _lengths(runs))


def _lengths(runs: RunColumns) -> np.ndarray:
    return np.diff(np.asarray([*runs.starts, runs.length]))


def masked(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels, int32: the id where it is learned, -100 where it is not."""
    made = np.full(len(ids), IGNORED, np.int32)
    np.copyto(made, ids, where=mask)
    return made


def loss_weights(rendered: Rendered, policy: LossPolicy) -> np.ndarray:
    """How much each token is learned: float32, (tokens,)."""
    return token_weights(RunColumns.of(rendered), policy)


def loss_mask(rendered: Rendered, policy: LossPolicy) -> np.ndarray:
    """One bool a token: learned?"""
    return loss_weights(rendered, policy) > 0


def labels(rendered: Rendered, policy: LossPolicy) -> np.ndarray:
    """What a trainer reads beside `rendered.ids`: a mask knows no fractions, `loss_weights` does."""
    return masked(rendered.ids, loss_mask(rendered, policy))


class Weighed(Protocol):
    """What a row says of its messages: a stream, or a stored row."""

    @property
    def trainable(self) -> Collection[int]: ...

    @property
    def weights(self) -> Mapping[int, float]: ...

    @property
    def asked(self) -> int: ...


def learned_runs(rows: Sequence[Weighed], runs: Runs, policy: LossPolicy) -> np.ndarray:
    """For each run of these rows, whether it is learned: bool, (runs,). As `trained_runs`, for many rows at once."""
    width = runs.messages.max(initial=-1) + 2
    trainable, weighs = np.zeros((len(rows), width), bool), np.ones((len(rows), width), bool)
    told = [row.trainable for row in rows]
    owners = np.repeat(np.arange(len(rows)), list(map(len, told)))
    messages = np.fromiter(chain.from_iterable(told), np.int64, len(owners))
    known = messages + 1 < width
    trainable[owners[known], messages[known] + 1] = True
    for n, row in enumerate(rows):
        for message, weight in row.weights.items():
            weighs[n, message + 1 : message + 2] = weight > 0
    at = runs.rows, runs.messages + 1
    wanted = np.array([kind in policy.kinds for kind in KINDS])[runs.kinds]
    learned = wanted & (trainable[at] | ~WRITTEN[runs.kinds]) & weighs[at]
    if policy.last_turn_only:
        learned &= runs.messages > np.array([row.asked for row in rows])[runs.rows]
    return learned


def batch_labels(batch: Batch, policy: LossPolicy) -> np.ndarray:
    """`labels` of all rows of a batch, end to end as `batch.ids`."""
    return masked(batch.ids, np.repeat(learned_runs(batch.streams, batch.runs, policy), batch.runs.lengths))
