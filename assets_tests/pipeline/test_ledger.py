"""What trained tokens cost: never a sum that leaves out what is not known."""

import json

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ledger import Entry, entries, forecast, forecasts, total
from pipeline.records import MaskedRow, Prompt, Trace
from pipeline.resources.store import Store
from pipeline.settings import Collection
from pipeline.targets import Project

BATCHES = ("codex_tasks", "pi_tasks")


def priced(store: Store, batch: str, price: float | None) -> int:
    """Give every run of a batch this price; how many there are."""
    rows = [msgspec.structs.replace(row, cost_usd=price) for row in store.read("traces", batch, Trace)]
    store.write("traces", batch, rows, code_version="priced")
    return len(rows)


def test_a_price_that_is_not_known_is_none_for_the_batch_and_the_total(made: Project, store: Store):
    runs = priced(store, "codex_tasks", 0.25)
    priced(store, "pi_tasks", None)
    codex, pi, whole = [entry for entry in entries(made, store) if entry.target == "qwen3"]
    trained = {b: sum(sum(r.trained.values()) for r in store.read("masked/qwen3", b, MaskedRow)) for b in BATCHES}
    assert (codex.batch, codex.runs, codex.cost_usd, codex.trained) == (
        "codex_tasks",
        runs,
        runs / 4,
        trained["codex_tasks"],
    )
    assert codex.per_1k == pytest.approx(1000 * runs / 4 / trained["codex_tasks"])
    assert (pi.cost_usd, pi.per_1k) == (None, None)
    assert (whole.cost_usd, whole.per_1k, whole.trained) == (None, None, sum(trained.values()))
    more = priced(store, "pi_tasks", 0.5)
    *_, whole = [entry for entry in entries(made, store) if entry.target == "qwen3"]
    assert whole.cost_usd == runs / 4 + more / 2


def test_nothing_that_was_learned_has_no_price_a_token():
    assert Entry(batch="b", target="t", runs=1, cost_usd=1.0, trained=0).per_1k is None
    assert total([]) is None
    assert total([0.0, 0.0]) == 0


def test_a_forecast_is_the_mean_of_runs_like_it():
    spent = {("codex", "m"): [1.0, 3.0], ("pi", "m"): [10.0]}
    tasks = [Prompt(id=str(n), prompt="x", agent=agent, model="m") for n, agent in enumerate(("codex", "codex", "pi"))]
    found = forecast("new", tasks, spent)
    assert (found.cost_usd, found.runs, found.prompts) == (14.0, 3, 3)
    stranger = Prompt(id="s", prompt="x", agent="codex", model="other")
    assert forecast("new", [*tasks, stranger], spent).cost_usd is None


def test_a_prompt_that_names_no_agent_is_forecast_as_the_project_runs_it(made: Project, store: Store):
    rows = [replace(t, agent="codex", model="m", cost_usd=0.5) for t in store.read("traces", "codex_tasks", Trace)]
    store.write("traces", "codex_tasks", rows, code_version="priced")
    (made.prompts / "next.jsonl").write_text('{"prompt": "Say a."}\n{"prompt": "Say b."}\n', encoding="utf-8")
    collect = Collection(agent="codex", model="m")
    (coming,) = forecasts(Project(made.folder, made.settings.model_copy(update={"collect": collect})), store)
    assert (coming.prompts, coming.cost_usd, coming.runs) == (2, 1.0, len(rows))


def test_a_batch_that_was_not_collected_is_forecast_by_those_that_were(made: Project, store: Store):
    for batch in BATCHES:
        priced(store, batch, 0.1)
    (made.prompts / "next.jsonl").write_text((made.prompts / "codex_tasks.jsonl").read_text(), encoding="utf-8")
    (coming,) = forecasts(made, store)
    assert coming.batch == "next"
    assert coming.cost_usd == pytest.approx(0.1 * coming.prompts)
    told = json.loads(CliRunner().invoke(app, ["ledger", "--json", "-p", str(made.folder)]).stdout)
    assert told["forecasts"][0]["batch"] == "next"
    assert all(row["usd_per_1k_trained"] for row in told["batches"])
    shown = CliRunner().invoke(app, ["ledger", "--target", "qwen3", "-p", str(made.folder)]).stdout
    assert "next" in shown
    assert "unknown" not in shown
