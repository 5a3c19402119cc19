"""What runs without anybody: the project watched, limits of the sensor, failures told of; and backfills by command."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from typer.testing import CliRunner

from pipeline.assets.watching import drifted
from pipeline.cli import app
from pipeline.definitions import definitions_of
from pipeline.drifting import Drift, compare, drift
from pipeline.errors import SettingsError
from pipeline.mixtures import Mixture
from pipeline.partitions import BATCHES
from pipeline.resources.store import Store
from pipeline.sensors import MOST_PARTITIONS, PRODUCE_NEW, WEBHOOK, failures, new_batches
from pipeline.staleness import stale, upstream
from pipeline.targets import EXAMPLE, Project, Target, load_project

PIN = Target(model="owner/name", revision="0" * 40, renderer="traced")


def tick(project: Project, instance: dg.DagsterInstance):
    return new_batches(dg.build_sensor_context(instance=instance, resources={"project": project}))


def watched(project: Project, job: str) -> tuple[dict[str, dg.AssetCheckEvaluation], dg.AssetMaterialization]:
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions_of(project).resolve_job_def(job).execute_in_process(instance=instance)
    (event,) = result.get_asset_materialization_events()
    return {check.check_name: check for check in result.get_asset_check_evaluations()}, event.materialization


def test_what_is_stale_is_a_check_and_a_page_of_the_graph(made: Project):
    checks, seen = watched(made, "in_sync")
    assert checks["in_sync"].passed
    assert seen.metadata["staleness"].value == "every partition is in sync"
    shutil.rmtree(made.data / "masked" / "qwen3" / "pi_tasks")
    checks, seen = watched(made, "in_sync")
    assert not checks["in_sync"].passed
    late = {f"stale: {one.asset}" for one in stale(made, Store(made.data))}
    assert late == set(checks["in_sync"].metadata) - {"stale partitions"}
    assert "| masked/qwen3 | pi_tasks | missing |" in seen.metadata["staleness"].value


def test_what_follows_traces_has_no_way_to_a_model(project: Project):
    jobs = {name: definitions_of(project).resolve_job_def(name) for name in ("produce", "rerender")}
    keys = jobs["rerender"].asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in keys} == set(upstream(project)) - {"prompts", "traces"}
    has = {name: set(job.get_required_resource_defs()) & {"sites", "publisher"} for name, job in jobs.items()}
    assert has == {"produce": {"sites", "publisher"}, "rerender": {"publisher"}}


def test_what_calls_models_and_what_writes_the_card_wait_for_each_other(project: Project):
    told = {"target": "qwen3", "sources": {"own": {"batches": "*"}}}
    judged = {**told, "curate": {"judge": {"model": "m", "max_calls": 1}}}
    mixtures = {name: Mixture.model_validate(one) for name, one in (("plain", told), ("graded", judged))}
    settings = project.settings.model_copy(update={"mixtures": mixtures})
    graph = definitions_of(Project(project.folder, settings)).resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.get_all_asset_keys()}
    assert {asset: found for asset, found in pools.items() if found} == {
        "traces": {"agents"},
        "mixture/graded": {"agents"},
        "publication": {"publication"},
    }


def night(project: Project, *, added: Sequence[str] = ("codex_tasks", "pi_tasks")) -> ScheduleExecutionData:
    """A tick of `nightly_rerender`, as the daemon has it evaluated."""
    with dg.instance_for_test() as instance, dg.partition_loading_context(dynamic_partitions_store=instance):
        instance.add_dynamic_partitions(str(BATCHES.name), added)
        repository = definitions_of(project).get_repository_def()
        with dg.build_schedule_context(
            instance=instance,
            repository_def=repository,
            scheduled_execution_time=datetime(2026, 1, 2),
            resources={"project": project, "store": Store(project.data)},
        ) as context:
            return repository.get_schedule_def("nightly_rerender").evaluate_tick(context)


def test_the_night_renders_again_what_is_stale_and_has_traces(made: Project):
    assert night(made).skip_message == "nothing is stale"
    (made.prompts / "new.jsonl").write_text('{"prompt": "x"}')
    shutil.rmtree(made.data / "masked" / "qwen3" / "pi_tasks")
    (request,) = night(made).run_requests or ()
    assert (request.partition_key, request.run_key) == ("pi_tasks", "rerender:pi_tasks:2026-01-02")
    assert request.tags["tracemill/reason"] == "masked/qwen3: missing"


def test_a_batch_that_dagster_does_not_have_yet_does_not_spoil_the_night_of_others(made: Project):
    for batch in ("codex_tasks", "pi_tasks"):
        shutil.rmtree(made.data / "masked" / "qwen3" / batch)
    requests = night(made, added=["codex_tasks"]).run_requests
    assert [request.partition_key for request in requests or ()] == ["codex_tasks"]


def test_a_pin_that_is_the_latest_has_not_drifted_and_a_folder_cannot(tmp_path: Path):
    found = drift(PIN, folder=tmp_path, latest=lambda model: "0" * 40)
    assert found
    assert (found.differs, found.pinned) == (0, found.latest)
    assert drift(Target(model="example"), folder=tmp_path) is None


def test_a_template_that_moved_on_shows_its_smallest_difference(tmp_path: Path):
    for name in ("old", "new"):
        shutil.copytree(EXAMPLE / "tokenizer", tmp_path / name)
    template = tmp_path / "new" / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>", "<|im_end|> "))
    old, new = (Target(model=name, renderer="traced") for name in ("old", "new"))
    found = compare(old, new, folder=tmp_path)
    assert found.changed == ("template",)
    assert 0 < found.differs <= found.of
    assert found.now.replace("<|im_end|> ", "<|im_end|>") == found.was != found.now
    told = drifted(found)
    assert told["conversations that differ"] == f"{found.differs} of {found.of}"
    same = compare(old, old, folder=tmp_path)
    assert (same.changed, same.differs, same.was) == ((), 0, "")


def test_a_hub_that_does_not_answer_is_a_check_that_says_so(made: Project, monkeypatch: pytest.MonkeyPatch):
    def nobody(target: Target, *, folder: Path) -> None:
        raise OSError("no route")

    monkeypatch.setattr("pipeline.assets.watching.drift", nobody)
    found, _ = watched(made, "drift")
    assert {name: check.passed for name, check in found.items()} == dict.fromkeys(
        ("qwen3_pin_is_latest", "chatml_pin_is_latest"), False
    )
    assert found["qwen3_pin_is_latest"].metadata["not asked"].value == "OSError: no route"
    assert {check.severity for check in found.values()} == {dg.AssetCheckSeverity.WARN}, "it proves nothing"


def test_a_pin_is_red_where_the_latest_writes_otherwise_or_cannot_be_told(
    made: Project, monkeypatch: pytest.MonkeyPatch
):
    for name, more in (("new", "more"), ("broken", "{% if %}")):
        shutil.copytree(EXAMPLE / "tokenizer", made.folder / name)
        with (made.folder / name / "chat_template.jinja").open("a") as template:
            template.write(more)
    latest = iter(["new", "broken"])

    def moved(target: Target, *, folder: Path) -> Drift:
        return compare(
            target.model_copy(update={"renderer": "traced"}),
            target.model_copy(update={"renderer": "traced", "model": next(latest)}),
            folder=folder,
        )

    monkeypatch.setattr("pipeline.assets.watching.drift", moved)
    found, _ = watched(made, "drift")
    assert [check.passed for check in found.values()] == [False, False]
    assert {check.severity for check in found.values()} == {dg.AssetCheckSeverity.ERROR}
    assert "the smallest" in found["qwen3_pin_is_latest"].metadata
    assert "TemplateError" in found["chatml_pin_is_latest"].metadata["the latest cannot be rendered with"].value


def test_more_partitions_than_dagster_bears_are_not_added_unless_that_was_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), [f"b{n}" for n in range(4_999)])
        refused = tick(project, instance)
        assert isinstance(refused, dg.SkipReason)
        assert "4,999 partitions and 2 new files are more than 5,000" in str(refused.skip_message)
        monkeypatch.setenv(MOST_PARTITIONS, "")  # as a compose file has it that was told nothing
        assert isinstance(tick(project, instance), dg.SkipReason)
        monkeypatch.setenv(MOST_PARTITIONS, "many")
        with pytest.raises(SettingsError, match=f"{MOST_PARTITIONS}=many: a number"):
            tick(project, instance)
        monkeypatch.setenv(MOST_PARTITIONS, "6000")
        assert isinstance(tick(project, instance), dg.SensorResult)


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict]]:
    """What a webhook is sent."""
    seen: list[dict] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{server.server_port}/hook")
        yield seen
        server.shutdown()


def test_a_failed_run_is_posted_with_its_batch_and_error(
    project: Project, posted: list[dict], monkeypatch: pytest.MonkeyPatch
):
    (project.prompts / "broken.jsonl").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), ["broken"])
        job = definitions_of(project).resolve_job_def("produce")
        result = job.execute_in_process(instance=instance, partition_key="broken", raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="failures",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        )
        failures(context.for_run_failure())
    (told,) = posted
    assert (told["job"], told["batch"], told["run"]) == ("produce", "broken", result.run_id)
    assert told["error"]


def traces(project: Project) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (project.data / "traces").rglob("*") if path.is_file()}


def test_a_backfill_renders_what_is_stale_and_touches_no_trace(made: Project):
    settings = made.folder / "tracemill.yaml"
    settings.write_text(settings.read_text().replace("policy: assistant", "policy: answers"))
    project, before = load_project(made.folder), traces(made)
    kept = (made.folder / "dataset" / "chatml" / "train" / "pi_tasks.parquet").stat().st_mtime_ns
    command = [sys.executable, "-m", "pipeline.cli", "backfill", "--stale", "-p", str(project.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "rendered 6 partitions of 2 batches again" in done.stdout, done.stderr
    assert stale(project, Store(project.data)) == []
    assert traces(made) == before
    assert (made.folder / "dataset" / "chatml" / "train" / "pi_tasks.parquet").stat().st_mtime_ns == kept
    again = CliRunner().invoke(app, ["backfill", "--stale", "-p", str(project.folder)])
    assert "rendered 0 partitions of 0 batches again" in again.output


def test_a_backfill_goes_on_with_the_others_where_a_batch_fails(made: Project):
    store = Store(made.data)
    (store.place("traces", "codex_tasks") / store.known("traces", "codex_tasks").rows_file).unlink()
    before = store.known("rendered/qwen3", "pi_tasks")
    (store.place("rendered/qwen3", "pi_tasks") / before.rows_file).unlink()
    command = [sys.executable, "-m", "pipeline.cli", "backfill", "codex_tasks", "pi_tasks", "-p", str(made.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "batch codex_tasks: conversations: StoreError: traces/codex_tasks: rows-" in done.stderr
    assert "batch pi_tasks" not in done.stderr
    assert (store.place("rendered/qwen3", "pi_tasks") / before.rows_file).exists()


def test_a_backfill_must_be_told_of_what(made: Project, project: Project):
    run = CliRunner().invoke
    assert "name batches, or --stale" in str(run(app, ["backfill", "-p", str(made.folder)]).exception)
    assert "no batch nowhere" in str(run(app, ["backfill", "nowhere", "-p", str(made.folder)]).exception)
    assert "no traces of pi_tasks" in str(run(app, ["backfill", "pi_tasks", "-p", str(project.folder)]).exception)


def test_a_file_that_lands_becomes_a_partition_and_nothing_is_spent(project: Project):
    with dg.DagsterInstance.ephemeral() as instance:
        found = tick(project, instance)
        assert isinstance(found, dg.SensorResult)
        (request,) = found.dynamic_partitions_requests or ()
        assert (request.partition_keys, found.run_requests) == (["codex_tasks", "pi_tasks"], [])
        instance.add_dynamic_partitions(str(BATCHES.name), list(request.partition_keys))
        assert isinstance(tick(project, instance), dg.SkipReason)


def test_new_batches_are_produced_when_that_was_asked_for(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PRODUCE_NEW, "1")
    with dg.DagsterInstance.ephemeral() as instance:
        found = tick(project, instance)
    assert isinstance(found, dg.SensorResult)
    assert [run.partition_key for run in found.run_requests or ()] == ["codex_tasks", "pi_tasks"]


def test_a_file_whose_name_cannot_be_a_partition_is_named(project: Project):
    shutil.rmtree(project.prompts)
    project.prompts.mkdir()
    for name in ("two words.jsonl", "a..b.jsonl", ".hidden.jsonl", "notes.md"):
        (project.prompts / name).touch()
    with dg.DagsterInstance.ephemeral() as instance:
        found = tick(project, instance)
    assert isinstance(found, dg.SkipReason)
    assert (found.skip_message or "").startswith("a..b.jsonl, two words.jsonl: not a batch's name")
