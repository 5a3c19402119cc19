"""`preview`, `certify`: a row, and a template, as they are."""

from typing import Annotated

import typer

from pipeline.commands.options import JsonOption, ProjectOption, console, existing_project
from pipeline.errors import SettingsError


def preview(
    row: Annotated[str, typer.Argument(help="A row's id (or how it begins), or its number in the batch from 0.")] = "0",
    target: Annotated[str | None, typer.Option(help="Target; the first one when not named.")] = None,
    batch: Annotated[str | None, typer.Option(help="Batch; all of them when not named.")] = None,
    project: ProjectOption = None,
) -> None:
    """Show one row as the model sees it: coloured by kind, trained tokens marked."""
    from pipeline.finding import find_row
    from pipeline.report import print_row
    from pipeline.resources.store import Store

    found = existing_project(project)
    target = target or next(iter(found.targets))
    if target not in found.targets:
        raise SettingsError(f"{found.folder} has no target {target!r}; it has {', '.join(found.targets)}")
    print_row(console, found, target, *find_row(Store(found.data), row, target=target, batch=batch))


def certify(
    model: Annotated[str, typer.Argument(help="A folder that holds a tokenizer, `example`, or a Hub id.")],
    revision: Annotated[str | None, typer.Option(help="A commit or branch of a Hub id.")] = None,
    as_json: JsonOption = False,
    limit: Annotated[float, typer.Option(min=1, help="Seconds of processor time that the template may take.")] = 60,
) -> None:
    """Say what a model's chat template does with conversations, each time with the smallest one that shows it."""
    from pipeline.certificate import certificate, print_certificate, to_json
    from pipeline.targets import Target

    findings = certificate(Target(model=model, revision=revision), limit=limit)
    if as_json:
        print(to_json(model, findings))
    else:
        print_certificate(console, model, findings)
