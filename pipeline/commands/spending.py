"""`ledger`: what trained tokens cost, and what the next batch will."""

from typing import Annotated

import typer

from pipeline.commands.options import JsonOption, ProjectOption, console, existing_project


def ledger(
    target: Annotated[str | None, typer.Option(help="Target; all of them when not named.")] = None,
    as_json: JsonOption = False,
    project: ProjectOption = None,
) -> None:
    """Price a thousand trained tokens, per batch and in total, and forecast batches that are not collected yet."""
    from rich.table import Table

    from pipeline.ledger import entries, forecasts
    from pipeline.resources.store import Store

    found = existing_project(project)
    store = Store(found.data)
    told = [entry for entry in entries(found, store) if target in (None, entry.target)]
    coming = forecasts(found, store)
    if as_json:
        import msgspec

        rows = [{**msgspec.to_builtins(entry), "usd_per_1k_trained": entry.per_1k} for entry in told]
        print(msgspec.json.encode({"batches": rows, "forecasts": coming}).decode())
        return
    table = Table("target", "batch", "runs", "US$", "trained tokens", "US$ per 1,000")
    for entry in told:
        table.add_row(
            entry.target, entry.batch, str(entry.runs), _usd(entry.cost_usd), f"{entry.trained:,}", _usd(entry.per_1k)
        )
    console.print(table)
    for one in coming:
        console.print(
            f"{one.batch}: {one.prompts} prompts, forecast {_usd(one.cost_usd)} by {one.runs} runs", highlight=False
        )


def _usd(price: float | None) -> str:
    return "unknown" if price is None else f"{price:,.4f}"
