"""`convert`, `extract`: sessions that are already there."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.commands.options import JsonOption, console
from pipeline.errors import PipelineError, SettingsError

Scrub = Literal["replace", "report", "reject", "off"]


def convert(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, or datasets of the Hub.")],
    out: Annotated[Path, typer.Option(help="The file to write; with --simple, the folder.")],
    format: Annotated[str | None, typer.Option(help="What they are; recognised when not named.")] = None,  # noqa: A002
    split: Annotated[str, typer.Option(help="Split of a dataset.")] = "train",
    revision: Annotated[str | None, typer.Option(help="The commit of a dataset.")] = None,
    simple: Annotated[bool, typer.Option("--simple", help="A trace a conversation, as the Hub shows them.")] = False,
    scrub: Annotated[Scrub, typer.Option(help="What becomes of secrets and personal data.")] = "replace",
    as_json: JsonOption = False,
) -> None:
    """Turn sessions and rows of any format into rows `messages, tools, metadata`, one a context window.

    What cannot be told goes to a file beside `out`, `rows.rejects.jsonl`, with its reason. Exit code 1 if nothing can.
    """
    from pipeline.exporting import export, rejects_of

    _require_place(out, simple=simple)
    with console.status("reading") as status:
        counted = export(
            paths,
            out,
            format=format,
            split=split,
            revision=revision,
            simple=simple,
            scrubbing=scrub,
            seen=lambda name, rows: status.update(f"{rows:,} conversations; {name}"),
        )
    why = f"; why not, in {rejects_of(out)}" if len(counted) > 1 else ""
    _report(counted, f"in {out}{why}", as_json=as_json)
    raise typer.Exit(code=0 if counted["conversations"] else 1)


def extract(
    agents: Annotated[list[str] | None, typer.Argument(help="codex, claude, pi; all when none is named.")] = None,
    out: Annotated[Path, typer.Option(help="The batch file to write.")] = Path("prompts/extracted.jsonl"),
    home: Annotated[Path | None, typer.Option(help="Whose sessions: a home folder; else yours.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Collect the sessions that agents left on this machine: a batch file, and their files beside it, untouched."""
    from rich.progress import Progress

    from pipeline.extracting import AGENTS, ALSO, sessions
    from pipeline.extracting import extract as collect

    _require_place(out)
    names = list(dict.fromkeys(ALSO.get(name, name) for name in agents or AGENTS))
    files = [(name, file) for name in names for file in sessions(name, home or Path.home())]
    if not files:
        raise PipelineError(f"no sessions of {', '.join(names)} below {home or Path.home()}; see --home")
    with Progress(console=console, transient=True, disable=as_json) as progress:
        task = progress.add_task("sessions", total=len(files))
        counted = collect(files, out, seen=lambda outcome: progress.advance(task))
    _report(counted, f"in {out}; materialize it in a project", as_json=as_json)


def _require_place(out: Path, *, simple: bool = False) -> None:
    """Raises SettingsError where nothing can be written to, before anything is read."""
    if out.exists() and out.is_dir() != simple:
        raise SettingsError(f"--out {out} is {'a file; name a folder' if simple else 'a folder; name a file in it'}")
    there = next(folder for folder in out.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise SettingsError(f"--out {out}: nothing can be written to {there}; name another place")


def _report(counted: Counter[str], where: str, *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(counted))
    else:
        console.print(", ".join(f"[bold]{number:,}[/] {what}" for what, number in counted.items()), where)
