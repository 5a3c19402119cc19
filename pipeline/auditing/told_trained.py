"""Nothing that the model was told is trained, but for what the target asks for, which is flagged.

Twice: by what the spans say of themselves, and by reading the trained text again without believing them.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.auditing.case import KINDS, WRITTEN, Case, Remark, error, stretches, warning
from pipeline.auditing.fields import Field, fields, holds, says
from renderers.messages import text
from renderers.segments import Kind

PROSE = np.array([kind in (Kind.REASONING, Kind.ANSWER) for kind in KINDS])
"""By index into KINDS: must its every line be found in a field? A tool call mixes template and data within a line."""
LONG = 24
"""Characters from which an equal text is no accident."""


def told_trained(case: Case) -> Iterator[Remark]:
    """No trained token is told, by its kind, by its role, or by what it reads."""
    yield from _by_kind(case)
    for index in case.trained_messages:
        message = case.message(index)
        if message is None or message.role != "assistant":
            yield error(f"trained tokens belong to {message.role if message else 'no message'}", index)
        else:
            trained = case.trained & (case.messages == index)
            own = "\n".join(field.value for field in fields(message))
            yield from _foreign(case, index, trained, own)
            yield from _stray(case, index, trained, own)


def _by_kind(case: Case) -> Iterator[Remark]:
    told = case.trained & ~WRITTEN[case.kinds]
    wanted = np.isin(case.kinds, [KINDS.index(kind) for kind in case.policy.told])
    if (told & wanted).any():
        words = f"words of others: {', '.join(sorted(case.policy.told))}"
        yield warning(f"{(told & wanted).sum():,} tokens are trained that are {words}, as the target asks")
    for start, end in stretches(told & ~wanted):
        where = f"tokens {start:,} to {end:,} are trained, and {KINDS[case.kinds[start]]} is told"
        yield error(f"{where}: {quote(case.decode(start, end))}", int(case.messages[start]))


def _foreign(case: Case, index: int, trained: np.ndarray, own: str) -> Iterator[Remark]:
    """What somebody else said, in this turn's trained text."""
    read = case.text(trained)
    for other, message in enumerate(case.conversation.messages):
        told = text(message.content).strip()
        if message.role != "assistant" and len(told) >= LONG and told in read and not holds(own, Field("", told)):
            yield error(f"trained text holds what message {other} ({message.role}) says: {quote(told)}", index)


def _stray(case: Case, index: int, trained: np.ndarray, own: str) -> Iterator[Remark]:
    """Prose that neither the message nor the template holds."""
    template = case.tokenizer.chat_template or ""
    for start, end in stretches(trained & PROSE[case.kinds] & ~case.is_control):
        for line in _lines(case.decode(start, end)):
            if line not in template and not says(own, line):
                yield warning(f"trained near token {start:,}, and nobody said it: {quote(line)}", index)
                return


def _lines(text: str) -> Iterator[str]:
    """Lines that can be looked for: not those that hold half a character."""
    return (line for line in map(str.strip, text.split("\n")) if line and "\ufffd" not in line)


def quote(text: str, *, limit: int = 60) -> str:
    """A text short enough for a sentence."""
    return repr(text if len(text) <= limit else f"{text[:limit]}…")
