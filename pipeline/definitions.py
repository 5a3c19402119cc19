"""Where assets, jobs, the sensor, the schedule and the resources of a project meet."""

import os
from datetime import timedelta

import dagster as dg

from pipeline.assets.audits import audits_for
from pipeline.assets.conversations import conversations
from pipeline.assets.masked import masked_for
from pipeline.assets.mixture import mixture_for
from pipeline.assets.places import repository, with_places
from pipeline.assets.prompts import prompts
from pipeline.assets.publication import publication_of
from pipeline.assets.rendered import rendered_for
from pipeline.assets.traces import traces
from pipeline.assets.watching import GROUP as WATCH
from pipeline.assets.watching import pins_of, staleness
from pipeline.blending import mixture_version
from pipeline.collecting.collect import Progress, silent
from pipeline.errors import SettingsError
from pipeline.resources.hub import publisher_of
from pipeline.resources.sites import Sites
from pipeline.resources.store import Store
from pipeline.schedules import nightly_drift, nightly_regenerate, nightly_rerender
from pipeline.sensors import failures, new_batches
from pipeline.staleness import code_versions, upstream
from pipeline.targets import Project, find_project

GROUPS = {
    "prompts": "1_collect",
    "traces": "1_collect",
    "conversations": "1_collect",
    "rendered": "2_render",
    "masked": "3_mask",
    "audits": "4_audit",
    "publication": "5_publish",
    "mixture": "6_mix",
}
"""Dagster's lists name an asset by the end of its key, its target: the group must say the stage."""
OWNERS = ["team:data"]
NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(hours=36))
"""Of a project that samples anew by night: the nights have come to something."""
STEPS_IN = "TRACEMILL_EXECUTOR"
"""`docker` gives every step a container of its own, where the instance launches runs as containers.

Unset, the steps of a run share its process: parallelism comes from runs."""
MIXTURES = dg.AssetSelection.groups(GROUPS["mixture"])
MIX = dg.define_asset_job(
    "mix", selection=MIXTURES, description="Mixtures of what batches hold. May call a judge, never an agent."
)


def executor() -> dg.ExecutorDefinition:
    """Where the steps of a run are executed. Raises SettingsError for another word than `docker`."""
    where = os.environ.get(STEPS_IN)
    if not where:
        return dg.in_process_executor
    if where != "docker":
        raise SettingsError(f"{STEPS_IN}={where}: `docker`, or leave it unset")
    from dagster_docker import docker_executor

    return docker_executor


def definitions_of(project: Project, *, tell: Progress = silent) -> dg.Definitions:
    """The graph of a project: what is the same for all of its targets, and three assets for each of them.

    `tell` hears of each prompt that is run.
    """
    versions, graph = code_versions(project), upstream(project)
    mixtures = {f"mixture/{name}": mixture_for(name, mixture) for name, mixture in project.settings.mixtures.items()}
    versions |= {asset: mixture_version(project, asset.partition("/")[2], versions) for asset in mixtures}
    above = [dg.AssetKey(asset.split("/")) for asset in graph["publication"]]

    def dressed(spec: dg.AssetSpec) -> dg.AssetSpec:
        stage, *target = spec.key.path
        return spec.replace_attributes(
            code_version=versions[spec.key.to_user_string()],
            group_name=GROUPS[stage],
            owners=OWNERS,
            freshness_policy=NIGHTLY if stage == "publication" and project.settings.collect.regenerate else None,
            tags={"tracemill/stage": stage, **({"tracemill/target": target[0]} if target else {})},
        )

    per_target = [
        asset(name, target)
        for name, target in project.targets.items()
        for asset in (rendered_for, masked_for, audits_for)
    ]
    made = [prompts, traces, conversations, *per_target, publication_of(above), *mixtures.values()]
    watched = [staleness, pins_of(project.targets)]
    return dg.Definitions(
        assets=[
            *dg.map_asset_specs(dressed, with_places(made, repository())),
            *dg.map_asset_specs(
                lambda spec: spec.replace_attributes(owners=OWNERS), with_places(watched, repository())
            ),
        ],
        jobs=[PRODUCE, RERENDER, STALENESS, DRIFT, *([MIX] if mixtures else [])],
        sensors=[new_batches, failures],
        schedules=[nightly_rerender, nightly_regenerate, nightly_drift],
        resources={
            "project": project,
            "store": Store(project.data),
            "sites": Sites(project.settings.collect, tell),
            "publisher": publisher_of(project),
        },
        executor=executor(),
    )


PRODUCE = dg.define_asset_job(
    "produce",
    selection=dg.AssetSelection.all() - MIXTURES - dg.AssetSelection.groups(WATCH),
    executor_def=executor(),
    description="Everything. The only job that may call a model.",
    tags={"tracemill/paid": "true"},
)
RERENDER = dg.define_asset_job(
    "rerender",
    selection=dg.AssetSelection.assets("traces").downstream(include_self=False) - MIXTURES,
    executor_def=executor(),
    description="Everything after the traces. Cannot call a model: it has no agents.",
)
STALENESS = dg.define_asset_job(
    "in_sync",
    selection=dg.AssetSelection.assets("staleness"),
    executor_def=dg.in_process_executor,
    description="Says which partitions are stale, and why.",
)
DRIFT = dg.define_asset_job(
    "drift",
    selection=dg.AssetSelection.assets("pins"),
    executor_def=dg.in_process_executor,
    description="Compares the revisions that targets pin with the latest ones.",
)
defs = definitions_of(find_project())
