"""A model that did not learn to stop does not stop."""

from collections.abc import Iterator

import numpy as np

from pipeline.auditing.case import KINDS, Case, Remark, error, warning
from renderers.segments import Kind

STOP = KINDS.index(Kind.STOP)


def stops(case: Case) -> Iterator[Remark]:
    """Every stop of a trained turn is trained, and every trained turn ends with its stop."""
    if case.masked is None:
        return
    if Kind.STOP not in case.policy.kinds:
        yield warning("this target does not learn stops: a model trained on it alone will not stop")
        return
    for index in case.trained_messages:
        yield from _turn(case, index)


def _turn(case: Case, index: int) -> Iterator[Remark]:
    turn = case.messages == index
    trained = np.flatnonzero(turn & case.trained)
    closing = np.flatnonzero(turn & (case.kinds == STOP))
    if not len(closing):
        yield error("this trained turn has no stop", index)
        return
    if closing[-1] not in case.places:
        yield warning(f"the length limit cut this turn after {len(trained):,} trained tokens: it has no stop", index)
        return
    silent = closing[~case.trained[closing]]
    if len(silent):
        yield error(f"token {silent[0]:,}: the stop {case.decode(silent[0], silent[0] + 1)!r} is not trained", index)
    elif trained[-1] != closing[-1]:
        yield error(f"trained text goes on after the stop at token {closing[-1]:,}", index)
    if not case.is_control[closing].all():
        yield warning(f"the stop at token {closing[0]:,} is ordinary text, which data can spell", index)
