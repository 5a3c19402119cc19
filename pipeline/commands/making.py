"""`materialize`: bringing partitions up to date."""

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


def bring_up_to_date(project: Project, batches: list[str] | None = None) -> None:
    from pipeline.refresh import refresh
    from pipeline.report import print_report

    changed = refresh(project, console, batches=batches)
    print_report(console, project, changed=changed)
