"""What commands have in common: the terminal, and the project that is meant."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()
ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", "-p", help="Project folder; else TRACEMILL_PROJECT, the working folder, `demo`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of words for people.")]
