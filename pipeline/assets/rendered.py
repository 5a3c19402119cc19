"""Rendered rows: one asset a target."""

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.loading import load_renderer
from pipeline.partitions import BATCHES
from pipeline.resources.store import Store
from pipeline.scaling import ENGINES
from pipeline.targets import Project, Target


def rendered_for(name: str, target: Target) -> dg.AssetsDefinition:
    @dg.asset(key=["rendered", name], partitions_def=BATCHES, deps=["conversations"], kinds={"jinja", "parquet"})
    def rendered(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        """Token ids, what each of them is, and which turns are proved to be what inference would see."""
        renderer = load_renderer(target, folder=project.folder)
        engine = ENGINES[project.settings.engine]
        rows = engine(store, context.partition_key, renderer, target, project.folder)
        manifest = save(context, store, rows, each_of="conversations")
        return report(store, manifest, renderer=renderer.name, history=target.history)

    return rendered
