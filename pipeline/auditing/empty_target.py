"""A row of which nothing is trained costs tokens and teaches nothing."""

from collections.abc import Iterator

from pipeline.auditing.case import Case, Remark, error


def empty_target(case: Case) -> Iterator[Remark]:
    """Every masked row has a target."""
    if case.masked is not None and not case.trained.any():
        yield error(f"none of {len(case.trained):,} tokens is trained; such a row should have been rejected by masking")
