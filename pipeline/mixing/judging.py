"""A model's grade decides whether a conversation stays."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from pipeline.mixing.words import told
from pipeline.mixtures import Judge
from pipeline.records import Conversation, Reject


class Grader(Protocol):
    """Whoever grades: threads share it."""

    def grade(self, said: str) -> float | None:
        """0 to 10; None where there is no grade: nothing may be spent any more."""
        ...


def misjudged(
    conversations: Sequence[Conversation], judge: Judge, grader: Grader, ungraded: list[str]
) -> Iterator[Reject]:
    """Those whose grade is too low. What has no grade stays, and is added to `ungraded`."""
    with ThreadPoolExecutor(judge.at_once) as pool:
        grades = pool.map(grader.grade, (_transcript(one) for one in conversations))
        for conversation, grade in zip(conversations, grades, strict=True):
            if grade is None:
                ungraded.append(conversation.id)
            elif grade < judge.minimum:
                detail = f"{judge.model} gives it {grade:g} of 10, {judge.minimum:g} is asked for"
                yield Reject(id=conversation.id, stage="mixture", reason="misjudged", detail=detail)


def _transcript(conversation: Conversation) -> str:
    return "\n\n".join(f"[{message.role}]\n{told(message).strip()}" for message in conversation.messages)
