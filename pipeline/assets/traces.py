"""Traces: the only asset that costs money."""

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.collecting import collect
from pipeline.converting import FORMATS
from pipeline.partitions import BATCHES
from pipeline.records import Prompt
from pipeline.resources.store import Store
from pipeline.targets import Project


@dg.asset(partitions_def=BATCHES, deps=["prompts"], kinds={"python"}, pool="agents")
def traces(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
) -> dg.MaterializeResult:
    """What agents logged for each prompt, byte for byte."""
    prompts = store.read("prompts", context.partition_key, Prompt)
    manifest = save(context, store, collect(prompts, project.prompts, FORMATS))
    return report(store, manifest)
