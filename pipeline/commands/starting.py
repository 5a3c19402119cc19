"""`demo`, `init`, `ui`: how one begins."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.making import bring_up_to_date
from pipeline.commands.options import ProjectOption, console, existing_project

WORKSPACE = Path(__file__).parents[1] / "workspace.yaml"


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo project is, or will be.")] = Path("demo"),
    run: Annotated[bool, typer.Option(help="Materialize what is stale; `--no-run` only writes the project.")] = True,
) -> None:
    """Make a project of the example sessions and materialize all of it: no key, no network."""
    from pipeline.projects import create_demo

    project = create_demo(folder.resolve())
    if run:
        bring_up_to_date(project)


def init(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Write a new project: `tracemill.yaml` and a first batch of prompts, with comments that teach."""
    from pipeline.projects import create_project

    project = create_project(folder.resolve())
    console.print(f"[bold]{project.folder}[/] is a project now. Read [bold]tracemill.yaml[/], then:")
    console.print(f"  tracemill materialize --project {folder}\n  tracemill ui --project {folder}")


def ui(
    project: ProjectOption = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
) -> None:
    """Open the project in the Dagster UI."""
    from pipeline.projects import dagster_home, with_instance

    found = with_instance(existing_project(project))
    os.environ |= {"DAGSTER_HOME": str(dagster_home(found)), "TRACEMILL_PROJECT": str(found.folder)}
    python = [sys.executable, "-W", "ignore:Function `dev_command`"]  # `dg dev`, its successor, wants a checkout
    os.execv(sys.executable, [*python, "-m", "dagster", "dev", "-w", str(WORKSPACE), "-p", str(port)])
