"""`tracemill`: what one does to a project from the terminal.

A command loads what it needs when it runs: `tracemill --help` must not wait for Dagster.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.errors import PipelineError, SettingsError
from pipeline.projects import create_demo, create_project, dagster_home, existing_project, with_instance
from pipeline.targets import Project, Target

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    help="Agent traces in, training tensors out that can prove what they train.",
    epilog="`tracemill demo` shows all of it on sessions that ship with the package.",
)
console = Console()
WORKSPACE = Path(__file__).with_name("workspace.yaml")

ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", "-p", help="Project folder; else TRACEMILL_PROJECT, the working folder, `demo`."),
]


def examples(*lines: str) -> str:
    """The epilog of a command: Typer makes one newline of two."""
    return "**Examples**\n\n\n\n" + "\n\n".join(f"- `{line}`" for line in lines)


@app.command(epilog=examples("tracemill demo", "tracemill demo /data/demo"))
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo project is, or will be.")] = Path("demo"),
    run: Annotated[bool, typer.Option(help="Materialize what is stale; `--no-run` only writes the project.")] = True,
) -> None:
    """Make a project of the example sessions and materialize all of it: no key, no network."""
    project = create_demo(folder.resolve())
    if run:
        bring_up_to_date(project)


@app.command(epilog=examples("tracemill init my-dataset", "cd my-dataset && tracemill materialize"))
def init(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Write a new project: `tracemill.yaml` and a first batch of prompts, with comments that teach."""
    project = create_project(folder.resolve())
    console.print(f"[bold]{project.folder}[/] is a project now. Read [bold]tracemill.yaml[/], then:")
    console.print(f"  tracemill materialize --project {folder}\n  tracemill ui --project {folder}")


@app.command(epilog=examples("tracemill materialize", "tracemill materialize codex_tasks -p demo"))
def materialize(
    batches: Annotated[list[str] | None, typer.Argument(help="Batches; all of them when none is named.")] = None,
    project: ProjectOption = None,
) -> None:
    """Bring the project's partitions up to date through Dagster: what is in sync is left alone."""
    bring_up_to_date(existing_project(project), batches)


@app.command(epilog=examples("tracemill stale", "tracemill stale -p demo"))
def stale(project: ProjectOption = None) -> None:
    """Say which partitions of which assets are stale, and why. Exit code 1 if any is."""
    from pipeline.report import print_stale
    from pipeline.resources.store import Store
    from pipeline.staleness import stale as find_stale

    found = existing_project(project)
    behind = find_stale(found, Store(found.data))
    print_stale(console, behind)
    raise typer.Exit(code=1 if behind else 0)


@app.command(epilog=examples("tracemill preview", "tracemill preview 3 --batch pi_tasks --target qwen3"))
def preview(
    row: Annotated[str, typer.Argument(help="A row's id (or how it begins), or its number in the batch from 0.")] = "0",
    target: Annotated[str | None, typer.Option(help="Target; the first one when not named.")] = None,
    batch: Annotated[str | None, typer.Option(help="Batch; all of them when not named.")] = None,
    project: ProjectOption = None,
) -> None:
    """Show one row as the model sees it: coloured by kind, trained tokens marked."""
    from pipeline.report import find_row, print_row
    from pipeline.resources.store import Store

    found = existing_project(project)
    target = target or next(iter(found.targets))
    if target not in found.targets:
        raise SettingsError(f"{found.folder} has no target {target!r}; it has {', '.join(found.targets)}")
    print_row(console, found, target, *find_row(Store(found.data), row, target=target, batch=batch))


@app.command(
    epilog=examples(
        "tracemill certify example",
        "tracemill certify ./my-tokenizer --json",
        "tracemill certify Qwen/Qwen3-8B --revision COMMIT",
    )
)
def certify(
    model: Annotated[str, typer.Argument(help="A folder that holds a tokenizer, `example`, or a Hub id.")],
    revision: Annotated[str | None, typer.Option(help="The commit of a Hub id.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the text of each conversation.")] = False,
    limit: Annotated[float, typer.Option(help="Seconds of processor time that the template may take.")] = 60,
) -> None:
    """Say what a model's chat template does with conversations, each time with the smallest one that shows it."""
    from pipeline.certificate import certificate, print_certificate, to_json

    findings = certificate(Target(model=model, revision=revision), limit=limit)
    if as_json:
        print(to_json(model, findings))
    else:
        print_certificate(console, model, findings)


@app.command(epilog=examples("tracemill ui -p demo", "tracemill ui --port 3001"))
def ui(
    project: ProjectOption = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
) -> None:
    """Open the project in the Dagster UI."""
    found = with_instance(existing_project(project))
    os.environ |= {"DAGSTER_HOME": str(dagster_home(found)), "TRACEMILL_PROJECT": str(found.folder)}
    python = [sys.executable, "-W", "ignore:Function `dev_command`"]  # `dg dev`, its successor, wants a checkout
    os.execv(sys.executable, [*python, "-m", "dagster", "dev", "-w", str(WORKSPACE), "-p", str(port)])


def bring_up_to_date(project: Project, batches: list[str] | None = None) -> None:
    from pipeline.refresh import refresh
    from pipeline.report import print_report

    changed = refresh(project, console, batches=batches)
    print_report(console, project, changed=changed)


def main() -> None:
    """The command, with refusals as one line instead of a traceback."""
    try:
        app()
    except PipelineError as error:
        told = f"[bold red]{type(error).__name__}[/]: {escape(str(error))}"
        Console(stderr=True).print(told, highlight=False, soft_wrap=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
