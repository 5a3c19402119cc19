"""Every night, if it is switched on: render again what is stale, sample anew, look whether pins have moved on."""

import dagster as dg

from pipeline.collecting.regenerating import regenerations
from pipeline.partitions import BATCHES
from pipeline.resources.store import Store
from pipeline.staleness import rerenderable
from pipeline.targets import SETTINGS, Project


def added(context: dg.ScheduleEvaluationContext) -> set[str]:
    """The batches that Dagster has as partitions: asked for another one, it would run none of them."""
    return set(context.instance.get_dynamic_partitions(str(BATCHES.name)))


@dg.schedule(
    job_name="rerender",
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Renders again what is stale or was never audited. Never calls a model.",
)
def nightly_rerender(
    context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
) -> list[dg.RunRequest] | dg.SkipReason:
    """One run for every batch that has traces and is stale after them."""
    batches = added(context)
    day = context.scheduled_execution_time.date().isoformat()
    return [
        dg.RunRequest(
            run_key=f"rerender:{batch}:{day}",
            partition_key=batch,
            tags={"tracemill/reason": f"{found[0].asset}: {found[0].reason}"},
        )
        for batch, found in rerenderable(project, store).items()
        if batch in batches
    ] or dg.SkipReason("nothing is stale")


@dg.schedule(
    job_name="drift",
    cron_schedule="0 4 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Compares each target's pinned revision with the latest one. Changes nothing.",
)
def nightly_drift(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run for all targets."""
    return dg.RunRequest(run_key=f"drift:{context.scheduled_execution_time.date().isoformat()}")


@dg.schedule(
    job_name="produce",
    cron_schedule="0 22 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Runs prompts anew, as `collect.regenerate` allows: the next generation of some batches. Costs money.",
)
def nightly_regenerate(
    context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
) -> list[dg.RunRequest] | dg.SkipReason:
    """One run for every batch that has its turn."""
    collection = project.settings.collect
    if collection.regenerate is None:
        return dg.SkipReason(f"{SETTINGS} has no collect.regenerate: set max_partitions and max_usd of a night")
    day = context.scheduled_execution_time.date().isoformat()
    return [
        dg.RunRequest(
            run_key=f"regenerate:{one.batch}:{one.generation}:{day}",
            partition_key=one.batch,
            run_config={"ops": {"traces": {"config": {"generation": one.generation, "max_usd": one.max_usd}}}},
            tags={"tracemill/reason": f"generation {one.generation}"},
        )
        for one in regenerations(sorted(added(context) & project.batch_files().keys()), collection, store)
    ] or dg.SkipReason("no batch was ever run by an agent")
