"""Prompts: where a batch begins."""

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.partitions import BATCHES
from pipeline.resources.store import Store
from pipeline.sourcing.files import read_batch
from pipeline.staleness import file_hash
from pipeline.targets import Project


@dg.asset(partitions_def=BATCHES, kinds={"jsonl"})
def prompts(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
) -> dg.MaterializeResult:
    """The tasks of a batch file, validated; a task that is there twice is kept once."""
    path = project.batch_file(context.partition_key)
    manifest = save(
        context, store, read_batch(path, project.settings.collect.defaults()), inputs={"file": file_hash(path)}
    )
    return report(store, manifest)
