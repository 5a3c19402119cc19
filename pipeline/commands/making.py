"""`materialize`, `backfill`: bringing partitions up to date, with a model or without."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import ProjectOption, console, existing_project
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.targets import Project


def materialize(
    batches: Annotated[list[str] | None, typer.Argument(help="Batches; all of them when none is named.")] = None,
    project: ProjectOption = None,
) -> None:
    """Bring the project's partitions up to date through Dagster: what is in sync is left alone."""
    bring_up_to_date(existing_project(project), batches)


def backfill(
    batches: Annotated[list[str] | None, typer.Argument(help="Batches to render again, be they stale or not.")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="What is stale, of every batch that has traces.")] = False,
    project: ProjectOption = None,
) -> None:
    """Render again through Dagster's job `rerender`, which cannot call a model."""
    from pipeline.refresh import backfill as run

    if bool(batches) == stale:
        raise SettingsError("name batches, or --stale for all that is")
    made = run(existing_project(project), console, batches=batches)
    console.print(f"[green]✓[/] rendered {sum(map(len, made.values()))} partitions of {len(made)} batches again")


def bring_up_to_date(project: "Project", batches: list[str] | None = None) -> None:
    from pipeline.refresh import refresh
    from pipeline.report import print_report

    changed = refresh(project, console, batches=batches)
    print_report(console, project, changed=changed)
