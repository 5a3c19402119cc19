"""Splits that nothing leaks across: one repository, one prompt, and what says nearly the same stay together."""

import random
from collections.abc import Mapping, Sequence

from pipeline.mixing.duplicates import Groups
from pipeline.mixing.words import task
from pipeline.records import Conversation

TRAIN = "train"
TIES = ("repository", "prompt", "task", "near duplicate")
"""What holds conversations together."""
Ties = tuple[str | None, ...]


def ties_of(conversation: Conversation, cluster: int) -> Ties:
    """What a conversation is tied by, as `TIES`; None: by nothing of that sort."""
    return conversation.repository, conversation.prompt_id or None, task(conversation) or None, str(cluster)


def grouped(ties: Sequence[Ties]) -> list[int]:
    """For each conversation, the first one of those that it is tied to, over however many others."""
    groups, first = Groups(len(ties)), dict[tuple[int, str], int]()
    for number, own in enumerate(ties):
        for kind, tie in enumerate(own):
            if tie is not None:
                groups.join(number, first.setdefault((kind, tie), number))
    return [groups.find(number) for number in range(len(ties))]


def split(groups: Sequence[int], weights: Sequence[int], wanted: Mapping[str, float], seed: int) -> list[str]:
    """The split of each conversation. `weights`: what it counts; `wanted`: percent held out by name.

    Groups go whole, in an order of the seed, to the split that lacks most of what it is to have; what fits in none of
    those that are held out is for training.
    """
    size: dict[int, int] = {}
    for group, weight in zip(groups, weights, strict=True):
        size[group] = size.get(group, 0) + weight
    order = sorted(size)
    random.Random(seed).shuffle(order)
    room = {name: share * sum(weights) / 100 for name, share in wanted.items()}
    place = {group: _fill(room, size[group]) for group in order}
    return [place[group] for group in groups]


def _fill(room: dict[str, float], size: int) -> str:
    name = max(room, key=room.__getitem__, default=TRAIN)
    if name == TRAIN or room[name] < size:
        return TRAIN
    room[name] -= size
    return name


def crossings(ties: Sequence[Ties], splits: Sequence[str]) -> dict[str, int]:
    """The proof, counted anew from the splits alone: by sort of tie, how many of them are in more than one split."""
    found: dict[str, int] = {}
    for kind, name in enumerate(TIES):
        seen: dict[str, set[str]] = {}
        for own, where in zip(ties, splits, strict=True):
            if (tie := own[kind]) is not None:
                seen.setdefault(tie, set()).add(where)
        found[name] = sum(len(places) > 1 for places in seen.values())
    return found
