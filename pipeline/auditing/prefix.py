"""Each trained turn is what inference would see: it is proved, and nothing of it is lost. And it is trained once."""

from collections import Counter
from collections.abc import Iterator

from pipeline.auditing.case import Case, Remark, error, warning
from pipeline.records import RowProof
from renderers.segments import Verdict


def prefix(case: Case) -> Iterator[Remark]:
    """Each assistant message has one verdict; trained turns are proved, or flagged; the verdicts of others are told."""
    assistants = [index for index, message in enumerate(case.told) if message.role == "assistant"]
    if [proof.message for proof in case.rendered.proofs] != assistants:
        yield error(f"{len(case.rendered.proofs)} verdicts for {len(assistants)} assistant messages")
    proofs = {proof.message: proof for proof in case.rendered.proofs}
    for index in case.trained_messages:
        verdict = proofs[index].verdict if index in proofs else "no verdict"
        if index in case.taught:
            yield error("this turn is trained twice: an earlier row of the conversation trains it, too", index)
        if verdict != Verdict.PROVED and not (verdict == Verdict.TRUSTED and case.target.history == "trust"):
            yield error(f"this turn is trained and not proved: {verdict}", index)
        elif index not in case.rendered.trainable:
            yield error("this turn is trained, but the renderer does not call it trainable", index)
    if case.masked and len(case.masked.parts) > 1:
        gone = case.masked.parts[1].start - case.masked.parts[0].end
        yield warning(f"{gone:,} tokens of earlier turns are left out here: not all that inference sees")
    yield from _trusted([proofs[index] for index in case.trained_messages if index in proofs])
    if case.rendered.whole:
        yield from _unproved(case)


def _trusted(trained: list[RowProof]) -> Iterator[Remark]:
    on_trust = [proof for proof in trained if proof.verdict == Verdict.TRUSTED]
    if on_trust:
        first = on_trust[0]
        yield warning(f"{_turns(len(on_trust))} trained on trust, not proved ({first.note})", first.message)


def _unproved(case: Case) -> Iterator[Remark]:
    """Turns that no row trains. Those that another one does are split."""
    fine = (Verdict.PROVED, Verdict.SPLIT)
    silent = [p for p in case.rendered.proofs if p.verdict not in fine and p.message not in case.trained_messages]
    for verdict, count in Counter(proof.verdict for proof in silent).items():
        first = next(proof for proof in silent if proof.verdict == verdict)
        why = f"{verdict}: {first.note}" if first.note else verdict
        yield warning(f"{_turns(count)} not proved, so not trained ({why})", first.message)


def _turns(count: int) -> str:
    return f"{count} turn{'s' if count > 1 else ''}"
