"""Every night, if it is switched on: render again what is not what it would be if it were made now."""

import dagster as dg

from pipeline.links import PAID
from pipeline.resources.store import Store
from pipeline.staleness import Stale, stale
from pipeline.targets import Project


@dg.schedule(
    job_name="rerender",
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Renders again what is stale. Never calls a model.",
)
def nightly_rerender(
    context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
) -> list[dg.RunRequest] | dg.SkipReason:
    """One run of `rerender` for every batch that has traces and is stale after them."""
    behind: dict[str, list[Stale]] = {}
    for one in stale(project, store):
        if one.asset not in PAID and store.manifest("traces", one.batch):
            behind.setdefault(one.batch, []).append(one)
    day = context.scheduled_execution_time.date().isoformat()
    return [
        dg.RunRequest(
            run_key=f"rerender:{batch}:{day}",
            partition_key=batch,
            tags={"tracemill/reason": f"{found[0].asset}: {found[0].reason}"},
        )
        for batch, found in behind.items()
    ] or dg.SkipReason("nothing is stale")
