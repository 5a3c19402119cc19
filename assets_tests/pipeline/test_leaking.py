"""What is tied is never published in two splits, in whatever order batches come."""

import random

import pytest

from pipeline.leaking import leaks
from pipeline.mixing.duplicates import clusters
from pipeline.mixing.splitting import TIES, crossings, ties_of
from pipeline.publishing.shards import split_of
from pipeline.records import Conversation, Origin
from renderers.messages import Message


def shuffled_batches(dice: random.Random) -> list[list[Conversation]]:
    """Conversations that share prompts, repositories in several spellings, tasks, and nearly all that they say."""
    spelled = ("o/n{}", "https://host/o/n{}.git", "git@host:o/n{}")
    texts = [" ".join(dice.choices("abcdefghij", k=60)) for _ in range(30)]

    def one(number: int) -> Conversation:
        said = dice.choice(texts) + dice.choice(("", " end"))
        prompt = Message("user", dice.choice((f"task {dice.randrange(200)}", said)))
        origin = Origin(repository=dice.choice((None, dice.choice(spelled).format(dice.randrange(60)))))
        answer = Message("assistant", dice.choice((said, f"{number} {number + 1}")))
        return Conversation(
            id=str(number),
            trace_id="",
            prompt_id=f"p{dice.randrange(200)}",
            window=0,
            messages=(prompt, answer),
            format="",
            origin=origin,
        )

    return [[one(100 * batch + n) for n in range(100)] for batch in range(3)]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_that_is_tied_is_published_in_two_splits(seed: int):
    splits, published, kept, left = {"test": 0.3, "validation": 0.1}, [], [], 0
    for own in shuffled_batches(random.Random(seed)):
        gone = {reject.id for reject in leaks(own, kept, splits)}
        stays = [one for one in own if one.id not in gone]
        assert not list(leaks(kept, stays, splits)), "what was published first stays when it is published again"
        kept += stays
        published, left = [*published, *own], left + len(gone)
    near = clusters(kept, near=0.85)
    ties = [ties_of(one, cluster) for one, cluster in zip(kept, near, strict=True)]
    assert crossings(ties, [split_of(one, splits) for one in kept]) == dict.fromkeys(TIES, 0)
    every = [split_of(one, splits) for one in published]
    proof = crossings(
        [ties_of(one, n) for one, n in zip(published, clusters(published, near=0.85), strict=True)], every
    )
    assert proof["repository"] == 0
    assert min(proof["prompt"], proof["task"], proof["near duplicate"], left) > 0
    assert len({split_of(one, splits) for one in kept}) == 3
