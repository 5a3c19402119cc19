"""A batch file that lands in the prompts folder becomes a partition; a run that fails is told of."""

import os
from urllib.request import Request, urlopen

import dagster as dg
import msgspec

from pipeline.errors import SettingsError
from pipeline.partitions import BATCHES
from pipeline.targets import Project

PRODUCE_NEW = "TRACEMILL_PRODUCE_NEW"
"""Set it to 1 to launch `produce` for every new batch; unset, nothing is spent."""

MOST_PARTITIONS = "TRACEMILL_MOST_PARTITIONS"
"""How many batches a project may have before no more are added: Dagster's pages slow down with thousands."""
DEFAULT_MOST = 5_000
WEBHOOK = "TRACEMILL_WEBHOOK"
"""Where failures are posted to, as JSON; unset, they are only logged."""
SECONDS = 10
"""That a webhook may take."""


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
        context.log.warning(misnamed)
    if not new:
        return dg.SkipReason(misnamed or f"no new batch in {project.prompts}")
    most = _most()
    if len(known) + len(new) > most:
        cure = f"make batches larger (200 to 2,000 prompts each), or set {MOST_PARTITIONS}"
        return dg.SkipReason(f"{len(known):,} partitions and {len(new):,} new files are more than {most:,}: {cure}")
    runs = [dg.RunRequest(run_key=f"produce:{batch}", partition_key=batch) for batch in new]
    return dg.SensorResult(
        dynamic_partitions_requests=[BATCHES.build_add_request(new)],
        run_requests=runs if os.environ.get(PRODUCE_NEW) == "1" else [],
    )


def _most() -> int:
    """As the environment says; there and empty, it says nothing."""
    told = os.environ.get(MOST_PARTITIONS) or str(DEFAULT_MOST)
    if not told.isdecimal():
        raise SettingsError(f"{MOST_PARTITIONS}={told}: a number, or leave it unset")
    return int(told)


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Logs a failed run, and posts it to {WEBHOOK} where that is set.",
)
def failures(context: dg.RunFailureSensorContext) -> None:
    """What failed, of which batch, and why. A webhook that does not answer fails the tick, which says so."""
    run = context.dagster_run
    told = {
        "job": run.job_name,
        "run": run.run_id,
        "batch": run.tags.get("dagster/partition"),
        "reason": run.tags.get("tracemill/reason"),
        "error": context.failure_event.message,
    }
    context.log.error("%(job)s of %(batch)s failed in run %(run)s: %(error)s", told)
    if address := os.environ.get(WEBHOOK):
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(address, msgspec.json.encode(told), headers), timeout=SECONDS):
            pass
