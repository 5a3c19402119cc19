"""A batch file that lands in the prompts folder becomes a partition."""

import os

import dagster as dg

from pipeline.partitions import BATCHES
from pipeline.targets import Project

PRODUCE_NEW = "TRACEMILL_PRODUCE_NEW"
"""Set it to 1 to launch `produce` for every new batch; unset, nothing is spent."""


@dg.sensor(
    job_name="produce",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds a partition for every new file of the prompts folder; launches nothing unless asked to.",
)
def new_batches(
    context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
) -> dg.SensorResult | dg.SkipReason:
    """A partition for each new file; a file whose name cannot be one is named, so that somebody renames it."""
    known = set(context.instance.get_dynamic_partitions(str(BATCHES.name)))
    new = sorted(project.batch_files().keys() - known)
    misnamed = project.misnamed_files()
    if misnamed:
        context.log.warning(_rename(misnamed))
    if not new:
        return dg.SkipReason(_rename(misnamed) if misnamed else f"no new batch in {project.prompts}")
    runs = [dg.RunRequest(run_key=f"produce:{batch}", partition_key=batch) for batch in new]
    return dg.SensorResult(
        dynamic_partitions_requests=[BATCHES.build_add_request(new)],
        run_requests=runs if os.environ.get(PRODUCE_NEW) == "1" else [],
    )


def _rename(files: list[str]) -> str:
    names = ", ".join(files)
    return f"{names}: not a batch's name; rename it: letters, digits, `-`, `_` and single `.`, then .jsonl"
