"""`materialize`, `stale`: bringing partitions up to date, and which are not."""

from typing import Annotated

import typer

from pipeline.commands.options import ProjectOption, console
from pipeline.projects import existing_project
from pipeline.targets import Project


def materialize(
    batches: Annotated[list[str] | None, typer.Argument(help="Batches; all of them when none is named.")] = None,
    project: ProjectOption = None,
) -> None:
    """Bring the project's partitions up to date through Dagster: what is in sync is left alone."""
    bring_up_to_date(existing_project(project), batches)


def stale(project: ProjectOption = None) -> None:
    """Say which partitions of which assets are stale, and why. Exit code 1 if any is."""
    from pipeline.report import print_stale
    from pipeline.resources.store import Store
    from pipeline.staleness import stale as find_stale

    found = existing_project(project)
    behind = find_stale(found, Store(found.data))
    print_stale(console, behind)
    raise typer.Exit(code=1 if behind else 0)


def bring_up_to_date(project: Project, batches: list[str] | None = None) -> None:
    from pipeline.refresh import refresh
    from pipeline.report import print_report

    changed = refresh(project, console, batches=batches)
    print_report(console, project, changed=changed)
