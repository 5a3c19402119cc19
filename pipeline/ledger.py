"""What trained tokens cost: a batch, all of them, and one that has not been collected yet.

A price that is not known is none: where any run of a batch has no price, neither has the batch, and no sum is made of
what is left.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from pipeline.records import Manifest, Prompt, Reject, Row, Trace
from pipeline.sourcing.files import read_batch
from pipeline.targets import Project

R = TypeVar("R", bound=Row)


class Partitions(Protocol):
    """Stored partitions."""

    def manifest(self, asset: str, batch: str) -> Manifest | None: ...

    def read(self, asset: str, batch: str, row: type[R]) -> Iterator[R]: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch, or all of them, cost for one target."""

    batch: str
    """`total`: all of them."""
    target: str
    runs: int
    cost_usd: float | None
    """None: the price of at least one run is not known."""
    trained: int
    """Tokens that are learned."""

    @property
    def per_1k(self) -> float | None:
        """US dollars for a thousand trained tokens; None where either is not known, or nothing is learned."""
        return None if self.cost_usd is None or not self.trained else 1000 * self.cost_usd / self.trained


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch will cost that has not been collected, by what runs of its agents and models have cost."""

    batch: str
    prompts: int
    cost_usd: float | None
    """None: no run of one of its agents and models has a price."""
    runs: int
    """How many runs it is judged by."""


Who = tuple[str, str | None]
"""Agent and model."""


def entries(project: Project, store: Partitions) -> list[Entry]:
    """Each batch that has traces, and the total last, for every target."""
    costs = {batch: runs_of(store, batch) for batch in project.batch_files() if store.manifest("traces", batch)}
    return [entry for target in project.targets for entry in _entries(target, costs, store)]


def _entries(target: str, costs: Mapping[str, Sequence[float | None]], store: Partitions) -> list[Entry]:
    found = [
        Entry(batch=batch, target=target, runs=len(own), cost_usd=total(own), trained=_trained(store, target, batch))
        for batch, own in costs.items()
    ]
    return [
        *found,
        Entry(
            batch="total",
            target=target,
            runs=sum(entry.runs for entry in found),
            cost_usd=total([entry.cost_usd for entry in found]),
            trained=sum(entry.trained for entry in found),
        ),
    ]


def total(costs: Sequence[float | None]) -> float | None:
    """The sum; None where one of them is not known, or there is none."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if costs and len(known) == len(costs) else None


def runs_of(store: Partitions, batch: str) -> list[float | None]:
    """What each run of a batch has cost."""
    return [trace.cost_usd for trace in store.read("traces", batch, Trace)]


def _trained(store: Partitions, target: str, batch: str) -> int:
    manifest = store.manifest(f"masked/{target}", batch)
    return manifest.measures.get("trained", 0) if manifest else 0


def forecasts(project: Project, store: Partitions) -> list[Forecast]:
    """Each batch that has no traces yet."""
    spent: dict[Who, list[float]] = {}
    new = {batch: path for batch, path in project.batch_files().items() if not store.manifest("traces", batch)}
    for batch in project.batch_files().keys() - new.keys():
        for trace in store.read("traces", batch, Trace):
            if trace.cost_usd is not None:
                spent.setdefault((trace.agent, trace.model), []).append(trace.cost_usd)
    asked = {batch: read_batch(path, project.settings.collect.defaults()) for batch, path in new.items()}
    return [forecast(b, [row for row in rows if not isinstance(row, Reject)], spent) for b, rows in asked.items()]


def forecast(batch: str, prompts: Sequence[Prompt], spent: Mapping[Who, Sequence[float]]) -> Forecast:
    """The mean price of a run of the same agent and model, for each prompt."""
    runs = [spent.get((prompt.agent, prompt.model), ()) for prompt in prompts]
    means = [sum(own) / len(own) if own else None for own in runs]
    told = {(prompt.agent, prompt.model) for prompt in prompts}
    return Forecast(
        batch=batch,
        prompts=len(prompts),
        cost_usd=total(means),
        runs=sum(len(spent.get(who, ())) for who in told),
    )
