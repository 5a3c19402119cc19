"""Each trained turn is what inference would see: it is proved, and nothing of it is lost."""

from collections import Counter
from collections.abc import Iterator

from pipeline.auditing.case import Case, Remark, error, warning
from renderers.segments import Verdict


def prefix(case: Case) -> Iterator[Remark]:
    """Each assistant message has one verdict; trained turns are proved; the verdicts of the others are told."""
    assistants = [index for index, message in enumerate(case.conversation.messages) if message.role == "assistant"]
    if [proof.message for proof in case.rendered.proofs] != assistants:
        yield error(f"{len(case.rendered.proofs)} verdicts for {len(assistants)} assistant messages")
    verdicts = {proof.message: proof.verdict for proof in case.rendered.proofs}
    for index in case.trained_messages:
        verdict = verdicts.get(index, "no verdict")
        if verdict != Verdict.PROVED:
            yield error(f"this turn is trained and not proved: {verdict}", index)
        elif index not in case.rendered.trainable:
            yield error("this turn is trained, but the renderer does not call it trainable", index)
    yield from _unproved(case)


def _unproved(case: Case) -> Iterator[Remark]:
    silent = [p for p in case.rendered.proofs if p.verdict != Verdict.PROVED and p.message not in case.trained_messages]
    for verdict, count in Counter(proof.verdict for proof in silent).items():
        first = next(proof for proof in silent if proof.verdict == verdict)
        why = f"{verdict}: {first.note}" if first.note else verdict
        yield warning(f"{count} turn{'s' if count > 1 else ''} not proved, so not trained ({why})", first.message)
