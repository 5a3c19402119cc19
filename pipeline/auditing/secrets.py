"""What holds secrets, or was never searched for them, is not published."""

from collections.abc import Iterator

from pipeline.auditing.case import Case, Remark, error


def secrets(case: Case) -> Iterator[Remark]:
    """Somebody looked for secrets and personal data, and replaced what was found."""
    scrub = case.conversation.scrub
    if scrub.done == "nothing":
        yield error("nobody has looked for secrets: set `scrub.mode: replace` in tracemill.yaml")
    elif scrub.done == "reported" and scrub.found:
        kinds = ", ".join(f"{kind} ({n})" for kind, n in scrub.found.items())
        yield error(f"holds {kinds}: set `scrub.mode` to replace or reject in tracemill.yaml")
