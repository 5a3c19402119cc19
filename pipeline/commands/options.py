"""What commands have in common: the terminal, and the project that is meant."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pipeline.targets import Project

console = Console()
ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", "-p", help="Project folder; else TRACEMILL_PROJECT, the working folder, `demo`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of words for people.")]


def existing_project(folder: Path | None) -> "Project":
    """The project that is meant. Raises SettingsError where there is none."""
    from pipeline import projects  # and with it all renderers: `--help` need not wait for them

    return projects.existing_project(folder)
