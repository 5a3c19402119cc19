"""Where conversations of a batch are published: in a split of chance, and nowhere where that would leak.

Splits never move: a conversation's is drawn from its repository, else its prompt, whatever else is published. What ties
it to another split all the same (a prompt, a task, what says nearly the same) keeps it out of the dataset: of a batch
what is held out gives way to `train`; a new batch gives way to those that are published.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from pipeline.mixing.duplicates import clusters
from pipeline.mixing.splitting import TIES, ties_of
from pipeline.mixtures import Curation
from pipeline.publishing.publisher import Partitions
from pipeline.publishing.shards import TRAIN, Place, split_of
from pipeline.records import Conversation, Prompt, Reject


def places(store: Partitions, batch: str, splits: Mapping[str, float]) -> dict[str, Place]:
    """The split of each conversation of a batch, or the reason why it is in none."""
    own = list(conversations(store, batch))
    drawn: dict[str, Place] = {one.id: split_of(one, splits) for one in own}
    if not splits:
        return drawn
    others = (name for name in store.batches("publication") if name != batch)
    there = [one for name in others for one in published(store, name)]
    return drawn | {reject.id: reject for reject in leaks(own, there, splits)}


def published(store: Partitions, batch: str) -> Iterator[Conversation]:
    """Those of a batch that the dataset has."""
    left = {reject.id for reject in store.rejects("publication", batch)}
    return (one for one in conversations(store, batch) if one.id not in left)


def conversations(store: Partitions, batch: str) -> Iterator[Conversation]:
    """Those of a batch, each with the repository that its prompt names."""
    prompts = {prompt.id: prompt for prompt in store.read("prompts", batch, Prompt)}
    return (placed(one, prompts.get(one.prompt_id)) for one in store.read("conversations", batch, Conversation))


def placed(conversation: Conversation, prompt: Prompt | None) -> Conversation:
    """With the repository that its prompt names."""
    if prompt is None or prompt.github_repo is None:
        return conversation
    return replace(conversation, metadata={**conversation.metadata, "github_repo": prompt.github_repo})


def leaks(own: Sequence[Conversation], others: Sequence[Conversation], splits: Mapping[str, float]) -> Iterator[Reject]:
    """Of a batch, what has a tie that crosses splits: to what `others` have published, or in the batch itself."""
    every = [*own, *others]
    near = clusters(every, near=Curation().similarity)
    drawn = [split_of(one, splits) for one in every]
    tied: dict[tuple[str, str], list[int]] = {}
    for number, one in enumerate(every):
        for kind, tie in zip(TIES, ties_of(one, near[number]), strict=True):
            if tie is not None:
                tied.setdefault((kind, tie), []).append(number)
    gone: dict[int, Reject] = {}
    for (kind, _), numbers in tied.items():
        first = min(numbers, key=lambda n: (n < len(own), drawn[n] != TRAIN, drawn[n], n))
        held = {drawn[n] for n in numbers if n >= len(own)} | {drawn[first]}
        for number in numbers:
            if number < len(own) and held != {drawn[number]}:
                why = f"{drawn[number]} would share a {kind} with {every[first].id}, which is in {drawn[first]}"
                gone.setdefault(number, Reject(id=own[number].id, stage="publication", reason="leak", detail=why))
    return iter(gone.values())
