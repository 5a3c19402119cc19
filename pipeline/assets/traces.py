"""Traces: the only asset that costs money."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.collecting.agent import World
from pipeline.collecting.collect import Finished, collect, unfinished
from pipeline.converting import FORMATS
from pipeline.partitions import BATCHES
from pipeline.records import COST, UNPRICED, Prompt, Trace
from pipeline.resources.sites import Sites
from pipeline.resources.store import Store
from pipeline.targets import Project


class Collecting(dg.Config):
    """What a run may ask of `traces`."""

    generation: int | None = None
    """Greater than the partition's: all of its prompts are run anew. None: what is finished stands."""
    max_usd: float | None = None
    """That this generation of the partition may cost in all, killed runs included; `collect.limits` holds too."""


@dg.asset(partitions_def=BATCHES, deps=["prompts"], kinds={"python"}, pool="agents")
def traces(
    context: dg.AssetExecutionContext,
    config: Collecting,
    project: dg.ResourceParam[Project],
    store: dg.ResourceParam[Store],
    sites: dg.ResourceParam[Sites],
) -> dg.MaterializeResult:
    """What agents logged for each prompt, byte for byte."""
    batch = context.partition_key
    journal = store.journal("traces", batch)
    finished = Finished.of(journal, _paid(context, store), config.generation)
    world = World(project.prompts, FORMATS, project.settings.collect)
    prompts = store.read("prompts", batch, Prompt)
    opened = sites.within(config.max_usd).open
    manifest = save(context, store, collect(prompts, world, finished, opened, tell=sites.tell))
    if not manifest.rejects and "run error" not in manifest.measures and unfinished(journal) is None:
        journal.clear()  # the partition has it all; else the next run goes on from the journal
    return report(store, manifest, **_cost(manifest.measures))


def _cost(measures: Mapping[str, int]) -> Mapping[str, Any]:
    """For plots, where every run has a price."""
    return {"cost_usd": measures[COST] / 1e6} if COST in measures and UNPRICED not in measures else {}


def _paid(context: dg.AssetExecutionContext, store: Store) -> Iterator[Trace]:
    """What the partition holds that was paid for, unless it must be collected again."""
    held, version = store.manifest("traces", context.partition_key), context.assets_def.specs_by_key[context.asset_key]
    if held and held.code_version == version.code_version:
        yield from (one for one in store.read("traces", context.partition_key, Trace) if one.exchanges)
