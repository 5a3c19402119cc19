"""Publication: the dataset, where its readers are."""

from collections.abc import Sequence

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.partitions import BATCHES
from pipeline.publishing.publish import publish
from pipeline.publishing.publisher import Publisher
from pipeline.resources.store import Store
from pipeline.targets import Project


def publication_of(deps: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=BATCHES, deps=deps, kinds={"huggingface", "parquet"})
    def publication(
        context: dg.AssetExecutionContext,
        project: dg.ResourceParam[Project],
        store: dg.ResourceParam[Store],
        publisher: dg.ResourceParam[Publisher],
    ) -> dg.MaterializeResult:
        """This batch's shards and the dataset's card; refused unless the audits passed for exactly these rows."""
        batch = context.partition_key
        beside = store.place("publication", batch)
        with store.hold("publication"):
            shards = publish(store, batch, project.settings, publisher=publisher, beside=beside)
            manifest = save(context, store, shards)
        return report(store, manifest, dataset=publisher.address)

    return publication
