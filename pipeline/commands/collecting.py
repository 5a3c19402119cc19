"""`generate`: prompts, run by their agents."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import ProjectOption, console, existing_project


def generate(
    batches: Annotated[list[str] | None, typer.Argument(help="Batches; all of them when none is named.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="teich's config.yaml, for a project.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--anew", help="What is finished stands; or all is run anew, or the rest of that.")
    ] = True,
    project: ProjectOption = None,
) -> None:
    """Run the prompts of a project through their agents; what was finished before is not run again.

    Exit code 1 if there is no trace in the end.
    """
    from pipeline.generating import export, report
    from pipeline.generating import generate as run

    if config is None:
        found = existing_project(project)
        asked = batches or sorted(found.batch_files())
        run(found, console, batches=asked, anew=not resume)
        raise typer.Exit(code=0 if report(found, console, asked) else 1)
    from pipeline.configs import Config

    told = Config.from_yaml(config)
    name, value = told.key()
    if value is not None:
        os.environ[name] = value
    found, batch = told.project()
    run(found, console, batches=[batch], anew=not resume)
    held = report(found, console, [batch])
    folder = told.folder / told.output.traces_dir
    console.print(f"{export(found, batch, folder)} session files in [bold]{folder}[/]")
    raise typer.Exit(code=0 if held else 1)
