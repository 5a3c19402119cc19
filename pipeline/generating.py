"""Run prompts from the terminal: through Dagster like everything else, with progress while it lasts."""

import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from pipeline.collecting import AGENTS
from pipeline.collecting.regenerating import next_generation
from pipeline.definitions import definitions_of
from pipeline.errors import PipelineError, SettingsError
from pipeline.partitions import BATCHES
from pipeline.projects import dagster_home, with_instance
from pipeline.records import Prompt, Reject, Trace, Usage
from pipeline.refresh import QUIET, failures
from pipeline.resources.store import Store
from pipeline.sourcing.files import read_batch
from pipeline.targets import Project


def progress_on(console: Console) -> Progress:
    """Lines of progress, one a batch. Where the terminal is narrow, what is told goes on below."""
    told = TextColumn("{task.fields[told]}", table_column=Column(overflow="fold"))
    shown = (TextColumn("{task.description}"), BarColumn(bar_width=10), MofNCompleteColumn(), told)
    return Progress(*shown, TimeRemainingColumn(), TextColumn("left"), console=console)


class Watched:
    """A line of progress: prompts done, running and failed; tokens, dollars, time left."""

    def __init__(self, progress: Progress, batch: str, total: int):
        self.progress, self.lock = progress, threading.Lock()
        self.running, self.failed, self.usage, self.usd, self.unknown = 0, 0, Usage(), 0.0, False
        self.bar = progress.add_task(batch, total=total, told="")

    def __call__(self, prompt: Prompt, row: Trace | Reject | None) -> None:
        """As `collecting.collect.Progress`; agents call from threads of theirs."""
        with self.lock:
            self.running += 1 if row is None else -1
            self.failed += isinstance(row, Reject) or (isinstance(row, Trace) and row.status == "error")
            if isinstance(row, Trace):
                self.usage += row.usage
                self.usd, self.unknown = self.usd + (row.cost_usd or 0.0), self.unknown or row.cost_usd is None
            self.progress.update(self.bar, advance=row is not None, told=self.told())

    def told(self) -> str:
        cost = f"${self.usd:.4f}{' and more' if self.unknown else ''}"
        counted = f"{self.usage.input:,} + {self.usage.output:,} tokens"
        return f"{self.running} running · {self.failed} failed · {counted} · {cost}"


def generate(project: Project, console: Console, *, batches: Sequence[str], anew: bool = False) -> None:
    """Bring prompts and traces of these batches up to date. What is finished stands, unless it is asked `anew`.

    Raises PipelineError with the step that failed; what was finished until then is kept.
    """
    if unknown := set(batches) - set(project.batch_files()):
        held = ", ".join(project.batch_files()) or "none"
        raise SettingsError(f"no batch {', '.join(sorted(unknown))} in {project.prompts}: it holds {held}")
    os.environ |= {"TRACEMILL_PROJECT": str(project.folder), "DAGSTER_HOME": str(dagster_home(with_instance(project)))}
    with dg.DagsterInstance.get() as instance, progress_on(console) as progress:
        instance.add_dynamic_partitions(str(BATCHES.name), list(batches))
        for batch in batches:
            _generate(project, instance, progress, batch, anew=anew)


def _generate(project: Project, instance: dg.DagsterInstance, progress: Progress, batch: str, *, anew: bool) -> None:
    rows = read_batch(project.batch_file(batch), project.settings.collect.defaults())
    total = sum(isinstance(row, Prompt) and row.agent in AGENTS and AGENTS[row.agent].paid for row in rows)
    job = definitions_of(project, tell=Watched(progress, batch, total)).resolve_job_def("produce")
    asked = {"ops": {"traces": {"config": {"generation": _next(project, batch)}}}} if anew else {}
    result = job.execute_in_process(
        run_config={**QUIET, **asked},
        instance=instance,
        partition_key=batch,
        asset_selection=[dg.AssetKey("prompts"), dg.AssetKey("traces")],
        raise_on_error=False,
    )
    if not result.success:
        raise PipelineError(f"batch {batch}: {'; '.join(failures(result))}")


def _next(project: Project, batch: str) -> int:
    """The generation after the partition's, or the one that is not through."""
    store = Store(project.data)
    held = store.manifest("traces", batch)
    return next_generation(held, store.journal("traces", batch)) if held else 0


def report(project: Project, console: Console, batches: Iterable[str]) -> int:
    """What the partitions hold, by status, and why the rest is not there. Returns how many traces there are."""
    store, held = Store(project.data), 0
    for batch in batches:
        traces = list(store.read("traces", batch, Trace))
        held += len(traces)
        told = ", ".join(f"{n} {status}" for status, n in sorted(Counter(one.status for one in traces).items()))
        known = [one.cost_usd for one in traces if one.cost_usd is not None]
        cost = f"${sum(known):.4f}" if len(known) == len(traces) else "price not known"
        tokens = sum((one.usage for one in traces), Usage())
        console.print(f"[bold]{batch}[/]: {told or 'no traces'}; {tokens.input:,} + {tokens.output:,} tokens, {cost}")
        for asset in ("prompts", "traces"):
            for reject in store.rejects(asset, batch):
                console.print(f"  [red]{reject.reason}[/] {reject.detail}", highlight=False)
    return held


def export(project: Project, batch: str, folder: Path) -> int:
    """Each session as its agent wrote it, its helpers' too, in one folder; rows of `chat` in one file. Returns how many
    files."""
    files: dict[str, bytes] = {}
    for trace in Store(project.data).read("traces", batch, Trace):
        for file in trace.files:
            name = Path(file.name).name
            files[name] = files.get(name, b"") + file.data if trace.format == "chat" else file.data
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        fresh = folder / f".{name}.new"
        fresh.write_bytes(data)
        fresh.replace(folder / name)
    return len(files)
