"""Bring a project up to date through Dagster: one run a batch, over the assets that are stale in it."""

import os
import re
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.errors import PipelineError, SettingsError
from pipeline.links import PAID
from pipeline.partitions import BATCHES
from pipeline.projects import dagster_home, with_instance
from pipeline.resources.store import Store
from pipeline.staleness import Stale, rerenderable, stale, upstream
from pipeline.targets import Project

PRODUCE, RERENDER = "produce", "rerender"
MODULE = re.compile(r"^([a-z_]\w*\.)+(?=[A-Z])")
"""Of an error's class: what people read is its name."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The progress display says what happens; the run's events are in the UI."""


def refresh(project: Project, console: Console, *, batches: Sequence[str] | None = None) -> list[Stale]:
    """Materialize what is stale and return what was. Raises PipelineError naming the step that failed."""
    _known(project, batches)
    if misnamed := project.misnamed_files():
        console.print(misnamed, style="yellow", highlight=False, soft_wrap=True, markup=False)
    behind = stale(project, Store(project.data), batches=batches)
    by_batch: dict[str, list[str]] = {}
    for one in behind:
        by_batch.setdefault(one.batch, []).append(one.asset)
    _launch(project, PRODUCE, by_batch, console)  # which stops where one fails: the next would cost money
    return behind


def backfill(project: Project, console: Console, *, batches: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Render again: these batches, or the stale assets of all; return what was. Never calls a model.

    Raises PipelineError naming the step that failed, SettingsError for a batch that has no traces.
    """
    _known(project, batches)
    store = Store(project.data)
    if unpaid := [batch for batch in batches or () if not store.manifest("traces", batch)]:
        raise SettingsError(f"no traces of {', '.join(unpaid)}: `tracemill materialize` collects them first")
    late = [asset for asset in upstream(project) if asset not in PAID]
    found = rerenderable(project, store) if not batches else {}
    by_batch = dict.fromkeys(batches or (), late) or {b: [one.asset for one in all_] for b, all_ in found.items()}
    _launch(project, RERENDER, by_batch, console)
    return by_batch


def _known(project: Project, batches: Sequence[str] | None) -> None:
    if unknown := set(batches or ()) - set(project.batch_files()):
        held = ", ".join(project.batch_files()) or "none"
        raise SettingsError(f"no batch {', '.join(sorted(unknown))} in {project.prompts}: it holds {held}")


def _launch(project: Project, job: str, by_batch: Mapping[str, Sequence[str]], console: Console) -> None:
    if not by_batch:
        return
    os.environ |= {"TRACEMILL_PROJECT": str(project.folder), "DAGSTER_HOME": str(dagster_home(with_instance(project)))}
    # Definitions read the project when they are loaded, so they are loaded now and not before.
    from pipeline.definitions import defs

    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), sorted(by_batch))
        run_batches(defs.resolve_job_def(job), instance, Store(project.data), by_batch, console)


def run_batches(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    store: Store,
    by_batch: Mapping[str, Sequence[str]],
    console: Console,
) -> None:
    """One run a batch, in this process, with a line of progress each.

    What may cost money ends where a batch fails; what renders again goes on with the others. Raises PipelineError.
    """
    failed: list[str] = []
    name, asset = TextColumn("{task.description}"), TextColumn("[dim]{task.fields[asset]}")
    columns = (SpinnerColumn(), name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), asset)
    with Progress(*columns, console=console) as progress:
        for batch, assets in sorted(by_batch.items()):
            bar = progress.add_task(batch, total=len(assets), asset="starting")
            run_id = str(uuid.uuid4())
            keys = [dg.AssetKey(asset.split("/")) for asset in assets]
            with Watch(instance, run_id, lambda n, asset, bar=bar: progress.update(bar, completed=n, asset=asset)):
                result = job.execute_in_process(
                    run_config=QUIET,
                    instance=instance,
                    run_id=run_id,
                    partition_key=batch,
                    asset_selection=keys,
                    raise_on_error=False,
                )
            progress.update(bar, asset="done" if result.success else "[red]failed[/]")
            if not result.success:
                failed.append(f"batch {batch}: {'; '.join([*failures(result), *nothing_left(store, batch)])}")
                if job.name == PRODUCE:
                    break
    if failed:
        raise PipelineError("\n".join(failed))


def failures(result: dg.ExecuteInProcessResult) -> Iterable[str]:
    """What went wrong in a run: each failed step with its error's own words."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            told = " ".join(cause.message.split()) if cause else "failed"
            yield f"{event.step_key}: {MODULE.sub('', told)}"


def nothing_left(store: Store, batch: str) -> Iterable[str]:
    """Why no conversation survived, if none did: each asset's first reject."""
    manifest = store.manifest("conversations", batch)
    if manifest and not manifest.rows:
        for asset in ("prompts", "traces", "conversations"):
            for reject in islice(store.rejects(asset, batch), 1):
                yield f"{asset}: {reject.reason}: {reject.detail}"


class Watch:
    """Reports a run's materializations while it runs in this thread's stead."""

    def __init__(self, instance: dg.DagsterInstance, run_id: str, tell):
        self.instance, self.run_id, self.tell = instance, run_id, tell
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def follow(self) -> None:
        while not self.ended.wait(0.2):
            self.look()
        self.look()

    def look(self) -> None:
        logs = self.instance.all_logs(self.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        if logs and (event := logs[-1].dagster_event) and event.asset_key:
            self.tell(len(logs), event.asset_key.to_user_string())
