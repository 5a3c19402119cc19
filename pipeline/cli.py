"""`tracemill`: what one does to a project from the terminal.

A command loads what it needs when it runs: `tracemill --help` must not wait for Dagster.
"""

from collections.abc import Callable, Mapping
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.commands.collecting import generate
from pipeline.commands.converting import convert, extract
from pipeline.commands.looking import certify, preview
from pipeline.commands.making import backfill, materialize
from pipeline.commands.mixing import mix
from pipeline.commands.reporting import diff, stale, why
from pipeline.commands.spending import ledger
from pipeline.commands.starting import demo, init, ui
from pipeline.commands.verifying import verify
from pipeline.errors import PipelineError

COMMANDS: Mapping[Callable[..., Any], tuple[str, ...]] = {
    demo: ("tracemill demo", "tracemill demo /data/demo"),
    init: ("tracemill init my-dataset", "cd my-dataset && tracemill materialize"),
    generate: ("tracemill generate", "tracemill generate fixes --anew", "tracemill generate -c config.yaml --resume"),
    materialize: ("tracemill materialize", "tracemill materialize codex_tasks -p demo"),
    extract: ("tracemill extract", "tracemill extract codex claude --out prompts/mine.jsonl"),
    convert: (
        "tracemill convert ~/.codex/sessions --out sessions.jsonl",
        "tracemill convert rows.parquet trajectory.json --out rows.jsonl --json",
        "tracemill convert ~/.pi/agent/sessions --simple --out traces",
    ),
    ledger: ("tracemill ledger", "tracemill ledger --json -p demo"),
    mix: ("tracemill mix", "tracemill mix main --json -p demo"),
    backfill: ("tracemill backfill --stale", "tracemill backfill pi_tasks -p demo"),
    stale: ("tracemill stale", "tracemill stale --json -p demo"),
    diff: (
        "tracemill diff",
        "tracemill diff --partition pi_tasks --against HEAD~1",
        "tracemill diff --against previous",
    ),
    why: ("tracemill why 3 --token 120", "tracemill why 0 --text 'I will run' --json"),
    preview: ("tracemill preview", "tracemill preview 3 --batch pi_tasks --target qwen3"),
    certify: (
        "tracemill certify example",
        "tracemill certify ./my-tokenizer --json",
        "tracemill certify Qwen/Qwen3-8B",
    ),
    verify: ("tracemill verify demo/dataset", "tracemill verify owner/name@main --json"),
    ui: ("tracemill ui -p demo", "tracemill ui --port 3001"),
}
"""Every command, in the order of `--help`, with its examples."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    help="Agent traces in, training tensors out that can prove what they train.",
    epilog="`tracemill demo` shows all of it on sessions that ship with the package.",
)
for command, examples in COMMANDS.items():
    # Typer makes one newline of two.
    app.command(epilog="**Examples**\n\n\n\n" + "\n\n".join(f"- `{line}`" for line in examples))(command)


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
