"""`mix`: mixtures brought up to date, with asked and realized shares."""

from typing import Annotated

import typer

from pipeline.commands.options import JsonOption, ProjectOption, console, existing_project


def mix(
    names: Annotated[list[str] | None, typer.Argument(help="Mixtures; all of them when none is named.")] = None,
    as_json: JsonOption = False,
    project: ProjectOption = None,
) -> None:
    """Bring mixtures up to date, and say what was asked for and what came of it."""
    from pipeline.blended import json_of, print_mixtures, refresh_mixtures

    found = existing_project(project)
    refresh_mixtures(found, names)
    if as_json:
        print(json_of(found, names))
    else:
        print_mixtures(console, found, names)
