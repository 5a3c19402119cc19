"""Conversations: every agent's log in one shape."""

import dagster as dg

from pipeline.assets.stage import blocking_check, report, save, survived
from pipeline.converting import convert
from pipeline.partitions import BATCHES
from pipeline.records import Trace
from pipeline.resources.salt import salt_of
from pipeline.resources.store import Store
from pipeline.scrubbing import scrub
from pipeline.targets import Project


@dg.asset(
    partitions_def=BATCHES,
    deps=["traces"],
    kinds={"python", "parquet"},
    check_specs=[blocking_check(dg.AssetKey("conversations"), "some_row_survived", description=survived.__doc__)],
)
def conversations(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
) -> dg.MaterializeResult:
    """Messages and tools, one conversation a context window, scrubbed; a trace that cannot be told is a reject."""
    traces = store.read("traces", context.partition_key, Trace)
    manifest = save(context, store, scrub(convert(traces), project.settings.scrub, salt=salt_of(project.data)))
    return report(store, manifest, checks=[survived(manifest)])
