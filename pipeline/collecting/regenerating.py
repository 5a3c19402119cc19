"""What a night runs anew: which batches, which generation of them, and what each may cost.

A generation that was begun and is not through, because a run was killed or the budget spent, is gone on with before
anything new begins; so nothing is paid for twice. A night's budget is split evenly, which holds it whatever runs at the
same time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pipeline.collecting.agent import Journal
from pipeline.collecting.collect import unfinished
from pipeline.collecting.spending import Spent, price_of
from pipeline.records import GENERATION, Manifest
from pipeline.settings import Collection


class Partitions(Protocol):
    """Stored traces."""

    def readable(self, asset: str, batch: str) -> Manifest | None: ...

    def journal(self, asset: str, batch: str) -> Journal: ...


@dataclass(frozen=True)
class Anew:
    """A batch to run, as the run config of `traces` says it."""

    batch: str
    generation: int
    max_usd: float | None


def regenerations(batches: Iterable[str], collection: Collection, store: Partitions) -> list[Anew]:
    """The least generations first, no more than the settings allow; nothing unless these say so.

    Of batches that were collected once: what an agent has never run is not run by night.
    """
    asked = collection.regenerate
    if asked is None:
        return []
    found = [(batch, store.readable("traces", batch)) for batch in batches]
    paid = [(batch, held) for batch, held in found if held and "requests" in held.measures]
    due = sorted((next_generation(held, store.journal("traces", batch)), batch) for batch, held in paid)
    chosen = due[: asked.max_partitions]
    price = price_of(collection.endpoint)

    def most(batch: str, generation: int) -> float | None:
        if asked.max_usd is None:
            return None
        return Spent.of(store.journal("traces", batch), generation, price).usd + asked.max_usd / len(chosen)

    return [Anew(batch, generation, most(batch, generation)) for generation, batch in chosen]


def next_generation(held: Manifest, journal: Journal) -> int:
    """The generation after the partition's, or the one that is not through."""
    last = unfinished(journal)
    return last if last is not None else 1 + generation_of(held)


def generation_of(held: Manifest) -> int:
    """The greatest of its traces."""
    told = [int(name.removeprefix(GENERATION)) for name in held.measures if name.startswith(GENERATION)]
    return max(told, default=0)
