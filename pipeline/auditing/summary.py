"""What the audits found in a whole partition, counted while its rows stream by."""

from collections.abc import Iterable

import msgspec
import numpy as np

from pipeline.auditing.case import KINDS, Case
from pipeline.records import Finding
from renderers.segments import Verdict

Counts = dict[str, int]
SUMMARY = "summary.json"
"""Its name, beside the audited partition."""


class Summary(msgspec.Struct, kw_only=True):
    """Sums over the audited rows."""

    rows: int = 0
    unmasked: int = 0
    """Rows that masking rejected: nothing of them is trained."""
    flawed: int = 0
    """Rows with an error."""
    turns: int = 0
    """Assistant messages, each counted once however many rows tell it."""
    trained_turns: int = 0
    proved_turns: int = 0
    """Trained turns that are proved."""
    verdicts: Counts = {}
    """Assistant messages by verdict."""
    tokens: Counts = {}
    """By kind."""
    trained: Counts = {}
    """By kind."""
    errors: Counts = {}
    """By audit."""
    warnings: Counts = {}
    """By audit."""

    @property
    def passed(self) -> bool:
        return not self.errors

    @property
    def verdict(self) -> str:
        """The partition in a line."""
        told = f"{self.proved_turns:,} of {self.trained_turns:,} trained turns: inference sees this exact prefix"
        errors = sum(self.errors.values())
        return f"{told}; {_counted(errors, 'error')} in {_counted(self.flawed, 'row')}" if errors else told

    def add(self, case: Case, findings: Iterable[Finding]) -> None:
        """Count one row."""
        proved = {proof.message for proof in case.rendered.proofs if proof.verdict == Verdict.PROVED}
        self.rows += 1
        self.unmasked += case.masked is None
        self.trained_turns += len(case.trained_messages)
        self.proved_turns += len(proved.intersection(case.proved_messages))
        if case.rendered.whole and not case.piece:
            self.turns += len(case.rendered.proofs)
            _count(self.verdicts, (str(proof.verdict) for proof in case.rendered.proofs))
        _add(self.tokens, case.kinds[case.places])
        _add(self.trained, case.kinds[case.trained])
        by_severity = {"error": self.errors, "warning": self.warnings}
        wrong = False
        for finding in findings:
            _count(by_severity[finding.severity], (finding.audit,))
            wrong |= finding.severity == "error"
        self.flawed += wrong


def _count(counts: Counts, names: Iterable[str]) -> None:
    for name in names:
        counts[name] = counts.get(name, 0) + 1


def _add(counts: Counts, kinds: np.ndarray) -> None:
    for kind, found in zip(KINDS, np.bincount(kinds, minlength=len(KINDS)).tolist(), strict=True):
        if found:
            counts[kind] = counts.get(kind, 0) + found


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
