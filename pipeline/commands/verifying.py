"""`verify`: whether a dataset is what it says."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import JsonOption, console


def verify(
    dataset: Annotated[str, typer.Argument(help="A folder, or a dataset of the Hub: owner/name, owner/name@revision.")],
    models: Annotated[Path, typer.Option(help="Where targets that name a local model have it.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Render every row of a published dataset again, offline, and say PASS, or the first row that differs."""
    import msgspec
    from rich.markup import escape

    from pipeline.verifying import verify as verified

    found = verified(dataset, models=models)
    if as_json:
        print(msgspec.json.encode({"passed": found.passed, **msgspec.to_builtins(found)}).decode())
    elif found.bad:
        console.print(f"[bold red]FAIL[/] {escape(str(found.bad))}", highlight=False, soft_wrap=True)
    else:
        rows = ", ".join(f"{count:,} of {config}" for config, count in found.rows.items())
        console.print(f"[bold green]PASS[/] {rows}\nroot {found.root}", highlight=False, soft_wrap=True)
        for target, verdict in found.verdicts.items():
            console.print(escape(f"{target}: {verdict}"), highlight=False, soft_wrap=True)
        for note in found.notes:
            console.print(escape(note), highlight=False, soft_wrap=True)
    raise typer.Exit(code=0 if found.passed else 1)
