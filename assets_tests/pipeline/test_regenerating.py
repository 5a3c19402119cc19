"""The schedule that samples anew by night: through the real asset, against a model that counts who asks."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from assets_tests.recording.model import Reply, ScriptedModel
from pipeline.cli import app
from pipeline.definitions import definitions_of
from pipeline.partitions import BATCHES
from pipeline.records import Trace
from pipeline.resources.store import Store
from pipeline.schedules import nightly_regenerate
from pipeline.targets import Project, load_project

SETTINGS = """\
targets: {{x: {{model: example, renderer: traced}}}}
collect:
  agent: chat
  model: {model}
  endpoint: {{base_url: '{url}', provider: openai, attempts: 1}}
  limits: {{concurrency: 1, max_answer: 100}}
  {regenerate}
"""
CALL = 1000 * 1.25e-6 + 2 * 1e-5
"""US dollars: what gpt-5 takes for a thousand tokens told and a short answer."""


class Nights:
    """A project with batches of three prompts, its model, and its nights."""

    def __init__(self, folder: Path, model: ScriptedModel):
        self.folder, self.model, self.name = folder, model, "gpt-5"
        self.added = ["a", "b", "c", "gone"]
        (folder / "prompts").mkdir()
        self.batch("a")

    def batch(self, name: str, prompts: int = 3) -> None:
        lines = (f"Say {name}{n}.\n" for n in range(prompts))
        (self.folder / "prompts" / f"{name}.txt").write_text("".join(lines))

    def project(self, regenerate: str = "") -> Project:
        text = SETTINGS.format(url=self.model.url, model=self.name, regenerate=regenerate)
        (self.folder / "tracemill.yaml").write_text(text)
        return load_project(self.folder)

    def tick(self, regenerate: str) -> Any:
        project = self.project(regenerate)
        resources = {"project": project, "store": Store(project.data)}
        with dg.instance_for_test() as instance:
            instance.add_dynamic_partitions(str(BATCHES.name), self.added)
            with dg.build_schedule_context(
                instance=instance, scheduled_execution_time=datetime(2026, 1, 2), resources=resources
            ) as context:
                return nightly_regenerate(context)

    def run(self, batch: str, run_config: dict[str, Any] | None = None, *, success: bool = True) -> int:
        """One run of `produce`; returns how often the model was asked."""
        before = len(self.model.requests)
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions(str(BATCHES.name), [batch])
            job = definitions_of(load_project(self.folder)).resolve_job_def("produce")
            result = job.execute_in_process(
                run_config=run_config,
                instance=instance,
                partition_key=batch,
                asset_selection=[dg.AssetKey("prompts"), dg.AssetKey("traces")],
                raise_on_error=False,
            )
        assert result.success == success
        self.shown = [
            event.materialization.metadata
            for event in result.get_asset_materialization_events()
            if event.asset_key == dg.AssetKey("traces")
        ]
        return len(self.model.requests) - before

    def night(self, regenerate: str) -> int:
        """A tick, and the runs that it asks for."""
        requests = self.tick(regenerate)
        return sum(self.run(one.partition_key, one.run_config) for one in requests)

    def generations(self, batch: str = "a") -> list[int]:
        return [trace.generation for trace in Store(self.project().data).read("traces", batch, Trace)]


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nights]:
    for name in ("TRACEMILL_PROJECT", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")  # the command sets them, and they must not outlive a test
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    with ScriptedModel(lambda request: Reply(text="Said.")) as model:
        yield Nights(tmp_path, model)


def allowed(max_usd: float | None = 1.0, max_partitions: int = 1) -> str:
    usd = "null" if max_usd is None else max_usd
    return f"regenerate: {{max_partitions: {max_partitions}, max_usd: {usd}}}"


def test_nothing_is_run_by_night_unless_settings_and_an_earlier_run_allow_it(nights: Nights):
    assert "collect.regenerate" in nights.tick("").skip_message
    assert "no batch was ever run" in nights.tick(allowed()).skip_message
    assert nights.model.requests == []


def test_a_night_runs_the_next_generation_once(nights: Nights):
    nights.project()
    assert nights.run("a") == 3
    (request,) = nights.tick(allowed())
    assert (request.run_key, request.tags["tracemill/reason"]) == ("regenerate:a:1:2026-01-02", "generation 1")
    assert nights.run("a", request.run_config) == 3
    assert nights.shown[0]["cost_usd"].value == pytest.approx(3 * CALL, rel=0.1), "a number to plot"
    assert nights.generations() == [1, 1, 1]
    assert nights.run("a", request.run_config) == 0, "launched again, it pays for nothing"
    assert nights.run("a") == 0
    assert nights.night(allowed()) == 3
    assert nights.generations() == [2, 2, 2]


def test_a_night_stops_at_its_budget_and_the_next_one_goes_on(nights: Nights):
    nights.project()
    nights.run("a")
    most = allowed(2 * CALL + 0.0005)
    asked = [nights.night(most)]
    assert sorted(nights.generations()) in ([0, 0, 1], [0, 1, 1]), "who was held back keeps the trace that it had"
    manifest = Store(nights.project().data).known("traces", "a")
    assert manifest.rows == 3
    assert sum(manifest.rejects.values()) == nights.generations().count(0)
    assert manifest.measures["cost in micro-USD"] > 0
    assert nights.run("a") == 0, "all are complete, if of an earlier generation"
    while sum(asked) < 3:
        asked.append(nights.night(most))
        assert asked[-1]
    assert nights.generations() == [1, 1, 1]
    assert asked[0] * CALL <= 2 * CALL + 0.0005
    assert sum(asked) == 3, "no prompt was paid for twice"


def test_a_night_that_affords_nothing_leaves_the_partition_as_it_is(nights: Nights):
    nights.project()
    nights.run("a")
    assert nights.night(allowed(1e-6)) == 0
    assert nights.generations() == [0, 0, 0]
    (request,) = nights.tick(allowed())
    assert request.run_config["ops"]["traces"]["config"] == {"generation": 1, "max_usd": 1.0}


def test_partitions_share_a_nights_budget_and_take_turns(nights: Nights):
    nights.batch("b")
    nights.batch("c")
    nights.project()
    for batch in "abc":
        nights.run(batch)
    first = nights.tick(allowed(1.0, 2))
    assert [(one.partition_key, one.run_config["ops"]["traces"]["config"]["max_usd"]) for one in first] == [
        ("a", 0.5),
        ("b", 0.5),
    ]
    nights.added.remove("a")
    assert [one.partition_key for one in nights.tick(allowed(1.0, 2))] == ["b", "c"], "Dagster does not know a"
    nights.added.append("a")
    assert nights.night(allowed(1.0, 2)) == 6
    assert [one.partition_key for one in nights.tick(allowed(1.0, 2))] == ["c", "a"]


def test_what_was_run_anew_by_command_goes_on_where_its_budget_ended(nights: Nights):
    def anew(limits: str) -> list[int]:
        nights.project()
        settings = nights.folder / "tracemill.yaml"
        settings.write_text(settings.read_text().replace("concurrency: 1", f"concurrency: 1, {limits}"))
        told = CliRunner().invoke(app, ["generate", "a", "--anew", "-p", str(nights.folder)])
        assert told.exit_code == 0, told.output
        return sorted(nights.generations())

    nights.project()
    nights.run("a")
    assert anew(f"max_usd: {2 * CALL + 0.0005}") in ([0, 0, 1], [0, 1, 1])
    assert anew("max_usd: 1") == [1, 1, 1]
    assert len(nights.model.requests) == 6
    assert anew("max_usd: 1") == [2, 2, 2]


def test_a_prompt_that_fails_keeps_its_trace_and_does_not_hold_up_the_next_generation(nights: Nights):
    nights.project()
    nights.run("a")
    nights.model.replies = lambda request: Reply(status=500) if "a1" in str(request) else Reply(text="Said.")
    assert nights.night(allowed()) == 3
    assert nights.generations() == [1, 0, 1]
    assert Store(nights.project().data).known("traces", "a").rejects == {"no_answer": 1}
    (request,) = nights.tick(allowed())
    assert request.run_config["ops"]["traces"]["config"]["generation"] == 2


def test_what_a_run_had_paid_when_it_broke_off_counts_and_is_not_paid_again(nights: Nights):
    nights.project()
    nights.run("a")
    (request,) = nights.tick(allowed())
    asked = Counter()

    def refuse_the_third(_: dict[str, Any]) -> Reply:
        asked["times"] += 1
        return Reply(status=401) if asked["times"] == 3 else Reply(text="Said.")

    nights.model.replies = refuse_the_third
    assert nights.run("a", request.run_config, success=False) == 3
    assert nights.generations() == [0, 0, 0], "the partition is the old one"
    (request,) = nights.tick(allowed(1.0))
    told = request.run_config["ops"]["traces"]["config"]
    assert told["generation"] == 1
    assert told["max_usd"] == pytest.approx(1.0 + 2 * CALL, rel=0.1), "and tonight's share comes on top"
    assert nights.run("a", request.run_config) == 1
    assert nights.generations() == [1, 1, 1]


def test_a_model_without_a_price_is_run_only_where_none_must_hold(nights: Nights):
    nights.name = "mine"
    nights.project()
    nights.run("a")
    (request,) = nights.tick(allowed())
    assert nights.run("a", request.run_config, success=False) == 0
    assert nights.night(allowed(None)) == 3
    assert nights.generations() == [1, 1, 1]
    assert "cost_usd" not in nights.shown[0], "unknown is not zero"
