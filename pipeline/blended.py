"""Mixtures for the terminal: made through Dagster where they are stale, and shown as tables."""

import os
from collections.abc import Sequence

import dagster as dg
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.assets.mixture import REPORT
from pipeline.blending import WHOLE, stale_mixtures
from pipeline.errors import PipelineError, SettingsError
from pipeline.mixing.mix import MixReport
from pipeline.projects import dagster_home, with_instance
from pipeline.refresh import QUIET, failures
from pipeline.resources.store import Store
from pipeline.targets import Project


def refresh_mixtures(project: Project, names: Sequence[str] | None = None) -> list[str]:
    """Materialize the mixtures that are stale, and name them. Raises PipelineError with what went wrong."""
    if unknown := set(names or ()) - set(project.settings.mixtures):
        held = ", ".join(project.settings.mixtures) or "none"
        raise SettingsError(f"no mixture {', '.join(sorted(unknown))}; tracemill.yaml has {held}")
    behind = [one.asset for one in stale_mixtures(project, Store(project.data)) if _named(one.asset, names)]
    if not behind:
        return []
    os.environ |= {"TRACEMILL_PROJECT": str(project.folder), "DAGSTER_HOME": str(dagster_home(with_instance(project)))}
    from pipeline.definitions import definitions_of

    job = definitions_of(project).resolve_job_def("mix")
    keys = [dg.AssetKey(asset.split("/")) for asset in behind]
    with dg.DagsterInstance.get() as instance:
        made = job.execute_in_process(run_config=QUIET, instance=instance, asset_selection=keys, raise_on_error=False)
    if not made.success:
        raise PipelineError("; ".join(failures(made)))
    return behind


def _named(asset: str, names: Sequence[str] | None) -> bool:
    return not names or asset.partition("/")[2] in names


def reports(project: Project, names: Sequence[str] | None = None) -> dict[str, MixReport]:
    """What each mixture came to."""
    place = {name: Store(project.data).place(f"mixture/{name}", WHOLE) / REPORT for name in project.settings.mixtures}
    return {
        name: msgspec.json.decode(path.read_bytes(), type=MixReport)
        for name, path in place.items()
        if path.exists() and (not names or name in names)
    }


def json_of(project: Project, names: Sequence[str] | None) -> str:
    return msgspec.json.encode(reports(project, names)).decode()


def print_mixtures(console: Console, project: Project, names: Sequence[str] | None) -> None:
    """Sources with asked and realized shares, splits and their proof, rejects by reason."""
    for name, told in reports(project, names).items():
        manifest = Store(project.data).known(f"mixture/{name}", WHOLE)
        table = Table(title=f"mixture {name}, by {told.by}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("source", "found", "fit", "asked", "realized", "rows", "tokens"):
            table.add_column(heading, justify="left" if heading == "source" else "right")
        for share in told.shares:
            asked = "" if share.asked is None else f"{share.asked:.2%}"
            numbers = [f"{share.found:,}", f"{share.fit:,}", asked, f"{share.realized:.2%}", f"{share.rows:,}"]
            table.add_row(share.source, *numbers, f"{share.tokens:,}")
        console.print(table)
        splits = ", ".join(f"{split} {rows:,}" for split, rows in told.splits.items())
        proof = ", ".join(f"{tie} {count}" for tie, count in told.crossings.items())
        console.print(
            f"rows: {splits}; {told.groups:,} groups; crossing a split: {proof}", highlight=False, soft_wrap=True
        )
        for warning in told.unheard:
            console.print(warning, highlight=False, soft_wrap=True, markup=False)
        console.print(f"{told.sequences:,} sequences, {told.fill:.1%} filled", highlight=False)
        if told.hits:
            first = told.hits[0]
            console.print(
                f"{len(told.hits):,} messages share words with benchmarks, the first {first.conversation}, "
                f"message {first.message}: {first.words!r} of {first.benchmark}",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )
        if told.ungraded:
            console.print(f"{len(told.ungraded):,} conversations have no grade, and stay", highlight=False)
        if manifest.rejects:
            left = ", ".join(f"{count:,} {reason}" for reason, count in manifest.rejects.items())
            console.print(f"left: {left}", highlight=False)
