"""Conversations that say the same, and those that nearly do: clusters of them, of each of which the best one stays.

Near: MinHash over word 5-grams finds the pairs (Broder 1997; rensa), their real Jaccard similarity decides.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from rensa import RMinHash, RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue]

from pipeline.mixing.words import conversation_words
from pipeline.records import Conversation, Reject

GRAM = 5
HASHES, BANDS = 128, (32, 64, 128)
"""The fewest bands are taken that find a pair of the similarity that is asked for with 99 %."""
SEED = 42
RANK = {"complete": 0, "unknown": 1, "length": 2}


class Groups:
    """Things that belong together, and all that belongs to one of them."""

    def __init__(self, size: int):
        self.above = list(range(size))

    def find(self, one: int) -> int:
        """The first of its group."""
        while self.above[one] != one:
            self.above[one] = one = self.above[self.above[one]]
        return one

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self.above[second] = first


def clusters(conversations: Sequence[Conversation], *, near: float | None) -> list[int]:
    """For each conversation, the first one of its cluster. `near`: from which similarity; None: only equals."""
    shingles = [_shingles(conversation) for conversation in conversations]
    groups, first = Groups(len(shingles)), dict[bytes, int]()
    for number, conversation in enumerate(conversations):
        groups.join(number, first.setdefault(_content(conversation), number))
    if near is not None:
        for number, other in _candidates([n for n in range(len(shingles)) if groups.find(n) == n], shingles, near):
            if groups.find(number) != groups.find(other) and similarity(shingles[number], shingles[other]) >= near:
                groups.join(number, other)
    return [groups.find(number) for number in range(len(shingles))]


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard: what they share of what they have; 1 where both have nothing."""
    return len(one & other) / len(one | other) if one or other else 1.0


def duplicates(conversations: Sequence[Conversation], *, near: float | None) -> Iterator[Reject]:
    """All but the best of each cluster: told to their end, with the fewest flaws, the longest, the first."""
    members: dict[int, list[int]] = {}
    for number, cluster in enumerate(clusters(conversations, near=near)):
        members.setdefault(cluster, []).append(number)
    for numbers in members.values():
        best = min(numbers, key=lambda n: (_worth(conversations[n]), n))
        for number in numbers:
            if number != best:
                detail = f"one of {len(numbers)} that say the same; {conversations[best].id} stays"
                yield Reject(id=conversations[number].id, stage="mixture", reason="duplicate", detail=detail)


def _worth(conversation: Conversation) -> tuple[int, int, int]:
    """What is worth more comes first."""
    return RANK.get(conversation.status, 3), len(conversation.flaws), -len(conversation.messages)


def _content(conversation: Conversation) -> bytes:
    told = "\0".join(f"{m.role}\0{m.content}\0{m.reasoning}\0{m.tool_calls}" for m in conversation.messages)
    return blake2b(told.encode("utf-8", "replace"), digest_size=16).digest()


def _shingles(conversation: Conversation) -> frozenset[str]:
    said = list(conversation_words(conversation))
    return frozenset(" ".join(said[k : k + GRAM]) for k in range(max(len(said) - GRAM + 1, 1))) if said else frozenset()


def _candidates(numbers: Sequence[int], shingles: Sequence[frozenset[str]], near: float) -> Iterator[tuple[int, int]]:
    """Pairs that share a band of their hashes."""
    enough = (bands for bands in BANDS if (1 - near ** (HASHES // bands)) ** bands < 0.01)
    index = RMinHashLSH(threshold=0.5, num_perm=HASHES, num_bands=next(enough, BANDS[-1]))
    for number in numbers:
        sketch = RMinHash(num_perm=HASHES, seed=SEED)
        sketch.update(sorted(shingles[number]))
        yield from ((number, other) for other in sorted(index.query(sketch)))
        index.insert(number, sketch)
