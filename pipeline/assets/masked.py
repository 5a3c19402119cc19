"""Masked rows: one asset a target, with what has changed since they were made last."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.comparing.differing import replaced
from pipeline.comparing.telling import PAGE, markdown, write_page
from pipeline.loading import load_tokenizer
from pipeline.masking import mask
from pipeline.partitions import BATCHES
from pipeline.records import Manifest, RenderedRow
from pipeline.resources.store import Store
from pipeline.targets import Project, Target


def masked_for(name: str, target: Target) -> dg.AssetsDefinition:
    @dg.asset(
        key=["masked", name],
        partitions_def=BATCHES,
        deps=[["rendered", name]],
        kinds={"numpy", "parquet"},
    )
    def masked(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        """Labels under the target's policy, and its length policy applied: what a trainer reads."""
        was = store.readable(f"masked/{name}", context.partition_key)
        rendered = store.read(f"rendered/{name}", context.partition_key, RenderedRow)
        manifest = save(context, store, mask(rendered, target), each_of=f"rendered/{name}")
        return report(store, manifest, policy=target.policy, **compared(store, was, manifest, target, project))

    return masked


def compared(
    store: Store, was: Manifest | None, manifest: Manifest, target: Target, project: Project
) -> Mapping[str, Any]:
    """The rendering diff of this run: its page beside the partition, its numbers where Dagster plots them."""
    diff = replaced(store, was, manifest, load_tokenizer(target, folder=project.folder))
    if diff is None:
        return {}
    with store.attach(manifest, PAGE) as page:
        write_page(page, diff, title=f"{manifest.batch}, {manifest.asset}: what changed")
    return {
        "rendering diff": dg.MetadataValue.md(markdown(diff)),
        "diff page": dg.MetadataValue.path(str(store.place(manifest.asset, manifest.batch) / PAGE)),
        "rows changed": diff.changed,
        "rows unchanged": diff.unchanged,
        "tokens added": diff.tokens_added,
        "tokens removed": diff.tokens_removed,
    }
