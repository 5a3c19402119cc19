"""Masked rows: one asset a target."""

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.masking import mask
from pipeline.partitions import BATCHES
from pipeline.records import RenderedRow
from pipeline.resources.store import Store
from pipeline.targets import Target


def masked_for(name: str, target: Target) -> dg.AssetsDefinition:
    @dg.asset(
        key=["masked", name],
        partitions_def=BATCHES,
        deps=[["rendered", name]],
        kinds={"numpy", "parquet"},
    )
    def masked(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
        """Labels under the target's policy, and its length policy applied: what a trainer reads."""
        rendered = store.read(f"rendered/{name}", context.partition_key, RenderedRow)
        manifest = save(context, store, mask(rendered, target), each_of=f"rendered/{name}")
        return report(store, manifest, policy=target.policy)

    return masked
