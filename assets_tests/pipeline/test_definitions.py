"""The graph as a snapshot, and what it does: make, refuse, survive."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import dagster as dg
import pytest

from pipeline.assets.watching import GROUP as WATCH
from pipeline.auditing import AUDITS
from pipeline.definitions import definitions_of
from pipeline.errors import PublicationRefused, SettingsError
from pipeline.partitions import BATCHES
from pipeline.records import Conversation, MaskedRow, RenderedRow
from pipeline.resources.store import ROWS, Store
from pipeline.staleness import stale, upstream
from pipeline.targets import SETTINGS, Project, load_project

GRAPH = Path(__file__).with_name("graph.txt")
ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, "-c"]


def name_of(key: dg.AssetKey) -> str:
    return key.to_user_string()


def told(defs: dg.Definitions) -> Iterable[str]:
    """The graph as people would describe it, without versions."""
    graph = defs.resolve_asset_graph()
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        yield f"{name_of(key)}  [{node.group_name}]  {', '.join(sorted(node.kinds))}"
        yield f"  {node.description}"
        (place,) = node.metadata["dagster/code_references"].code_references
        yield from (f"  code {name}" for name in re.findall(r"\w+\.py", place.source))
        if node.freshness_policy:
            yield f"  fresh for {node.freshness_policy.fail_window.to_timedelta()}"
        yield from (f"  <- {name_of(parent)}" for parent in sorted(node.parent_keys))
        for check in sorted(node.check_keys, key=lambda check: check.name):
            blocking = graph.get_check_spec(check).blocking
            yield f"  check {check.name}{' (blocking)' if blocking else ''}"
    for job in ("produce", "rerender"):
        keys = sorted(map(name_of, defs.resolve_job_def(job).asset_layer.executable_asset_keys))
        yield f"job {job}: {' '.join(keys)}"
    sensor = defs.resolve_sensor_def("new_batches")
    yield f"sensor {sensor.name} -> {sensor.job_name}, {sensor.default_status.value}"
    yield f"sensor failures, {defs.resolve_sensor_def('failures').default_status.value}"
    for name in ("nightly_rerender", "nightly_regenerate", "nightly_drift"):
        schedule = defs.resolve_schedule_def(name)
        yield f"schedule {name} {schedule.cron_schedule} -> {schedule.job_name}, {schedule.default_status.value}"


def test_the_graph_is_the_one_that_was_reviewed(project: Project, request: pytest.FixtureRequest):
    found = "\n".join(told(definitions_of(project))) + "\n"
    if request.config.getoption("--regenerate"):
        GRAPH.write_text(found, encoding="utf-8")
    assert found == GRAPH.read_text(encoding="utf-8")


def test_a_code_server_can_serve_the_graph(project: Project):
    """Names of jobs and of steps share one space, which a graph alone does not show."""
    dg.Definitions.validate_loadable(definitions_of(project))


def test_every_asset_says_what_it_is_and_changes_its_version(project: Project):
    for asset in definitions_of(project).resolve_asset_graph().asset_nodes:
        assert asset.code_version
        assert asset.description
        assert asset.owners == ["team:data"]
        assert asset.kinds
        if asset.group_name == WATCH:
            continue
        assert asset.tags["tracemill/stage"] == asset.key.path[0]
        assert asset.partitions_def == BATCHES


def test_dagster_and_staleness_see_the_same_graph(project: Project):
    graph = definitions_of(project).resolve_asset_graph()
    parents = {name_of(key): set(map(name_of, graph.get(key).parent_keys)) for key in graph.get_all_asset_keys()}
    assert [parents.pop(watched) for watched in ("staleness", "pins")] == [set(), set()]
    assert parents == {asset: set(above) for asset, above in upstream(project).items()}
    assert {asset.partition("/")[0] for asset in parents} == set(ROWS) - {"mixture"}, "the example has no mixture"


def test_a_target_is_three_assets_more(project: Project):
    settings = project.settings.model_copy(update={"targets": {"only": project.targets["qwen3"]}})
    keys = definitions_of(Project(project.folder, settings)).resolve_asset_graph().get_all_asset_keys()
    assert {name_of(key) for key in keys if len(key.path) > 1} == {"rendered/only", "masked/only", "audits/only"}


def test_loading_imports_nothing_heavy_and_asks_no_network():
    code = """
import socket, sys
socket.getaddrinfo = socket.create_connection = None
import pipeline.definitions
heavy = {"transformers", "datasets", "torch", "pandas", "openai", "docker", "ray", "PIL", "uvicorn", "genai_prices"}
print(*sorted({*heavy, "huggingface_hub", "stamina"} & set(sys.modules)))
"""
    done = subprocess.run([*SCRIPT, code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_tokenizer_that_is_not_here_does_not_keep_the_graph_from_loading(project: Project):
    target = project.targets["qwen3"].model_copy(update={"model": "owner/absent", "revision": "0" * 40})
    settings = project.settings.model_copy(update={"targets": {"absent": target}})
    assert definitions_of(Project(project.folder, settings)).resolve_asset_graph()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"renderer": "quen3"}, "targets.qwen3: no renderer 'quen3'; there are"),
        ({"flags": {"enable_thnking": True}}, "targets.qwen3: qwen3 has no flag 'enable_thnking'"),
        ({"model": "owner/name", "revision": "main"}, "a branch moves"),
    ],
)
def test_a_setting_that_cannot_be_used_is_said_when_the_graph_loads(project: Project, change: dict, message: str):
    target = project.targets["qwen3"].model_copy(update=change)
    settings = project.settings.model_copy(update={"targets": {"qwen3": target}})
    with pytest.raises(SettingsError, match=message) as refused:
        definitions_of(Project(project.folder, settings))
    assert SETTINGS in str(refused.value)


@pytest.mark.parametrize("name", ["conversations", "traces"])
def test_no_target_is_called_what_the_dataset_calls_something_else(project: Project, name: str):
    settings = project.folder / SETTINGS
    settings.write_text(settings.read_text().replace("  qwen3:", f"  {name}:", 1))
    with pytest.raises(SettingsError, match=f"targets.{name}: a config of the dataset is called that already"):
        load_project(project.folder)


def test_both_batches_of_the_example_are_made(made: Project, store: Store):
    assert stale(made, store) == []
    for asset in upstream(made):
        assert store.batches(asset) == ["codex_tasks", "pi_tasks"]
    for name in made.targets:
        for batch in store.batches("conversations"):
            rendered, masked = store.known(f"rendered/{name}", batch), store.known(f"masked/{name}", batch)
            assert rendered.rows_in == store.known("conversations", batch).rows
            assert masked.rows_in == rendered.rows
            assert masked.measures["trained"] > 0
            assert (rendered.rows > rendered.rows_in) == (made.targets[name].history == "split")


def test_a_split_conversation_teaches_each_turn_once_and_all_that_can_be_proved(store: Store):
    for batch in store.batches("conversations"):
        said = {c.id: c for c in store.read("conversations", batch, Conversation)}
        trained, ids = Counter(), []
        for rendered in store.read("rendered/qwen3", batch, RenderedRow):
            ids.append(rendered.id)
            trained.update((rendered.conversation_id, message) for message in rendered.trainable)
        assert len(ids) == len(set(ids))
        written = {(c.id, n) for c in said.values() for n, m in enumerate(c.messages) if m.role == "assistant"}
        assert trained == Counter(written - {(c.id, flaw.message) for c in said.values() for flaw in c.flaws})
        masked = list(store.read("masked/qwen3", batch, MaskedRow))
        assert sum(row.trained.get("stop", 0) for row in masked) == len(trained)


def test_a_run_tells_dagster_what_it_made(made: Project, materialize: Callable[..., dg.ExecuteInProcessResult]):
    result = materialize(made, "pi_tasks", job="rerender")
    found = {name_of(e.asset_key): e.materialization for e in result.get_asset_materialization_events()}
    assert set(found) == set(upstream(made)) - {"prompts", "traces"}
    for asset, materialization in found.items():
        manifest = Store(made.data).known(asset, "pi_tasks")
        assert materialization.tags["dagster/data_version"] == manifest.data_version
        assert materialization.metadata["dagster/row_count"].value == manifest.rows
        columns = materialization.metadata["dagster/column_schema"].value.columns
        assert all(column.type for column in columns)
        shown = materialization.metadata.get("dagster/column_lineage")
        assert (shown is not None) == (asset.partition("/")[0] in ("conversations", "rendered", "masked"))
    conversations = found["conversations"].metadata
    (reject,) = conversations["rejects"].records
    assert (reject.data["reason"], reject.data["rows"]) == ("invalid_json", 1)
    assert 0 < found["masked/qwen3"].metadata["trained fraction"].value < 1
    audits = found["audits/qwen3"].metadata
    assert audits["mask"].value.startswith("![trained tokens](data:image/webp;base64,")
    assert len(audits["mask"].value) < 1000, "Dagster would hide it behind a click"
    assert audits["mask_with_legend"].value.startswith("![trained tokens](data:image/png;base64,")
    assert Path(audits["token_page"].value).read_text(encoding="utf-8").endswith("</html>\n")
    severities = [finding.data["severity"] for finding in audits["findings"].records]
    assert severities == sorted(severities)
    assert len(severities) == Store(made.data).known("audits/qwen3", "pi_tasks").rows
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert set(checks) == {"some_row_survived", *AUDITS}
    assert all(c.passed or c.severity == dg.AssetCheckSeverity.WARN for c in checks.values())
    assert all(c.partition == "pi_tasks" for c in checks.values())
    assert all(c.passed or c.metadata["findings"].value for c in checks.values() if c.check_name in AUDITS)


def test_the_same_again_writes_nothing_new(made: Project, materialize: Callable[..., dg.ExecuteInProcessResult]):
    def files() -> dict[Path, int]:
        kept = (*made.data.rglob("rows-*"), *made.data.rglob("rejects-*"), *(made.folder / "dataset").rglob("*.*"))
        return {path: path.stat().st_mtime_ns for path in kept}

    before = files()
    materialize(made, "codex_tasks")
    assert files() == before


def test_nothing_that_survives_stops_the_run(project: Project, materialize: Callable[..., dg.ExecuteInProcessResult]):
    batch = project.prompts / "codex_tasks.jsonl"
    damaged = [line for line in batch.read_text().splitlines() if "damaged" in line]
    batch.write_text("\n".join(damaged))
    result = materialize(project, "codex_tasks", raise_on_error=False)
    (check,) = result.get_asset_check_evaluations()
    assert (result.success, check.check_name, check.passed) == (False, "some_row_survived", False)
    assert Store(project.data).batches("rendered/qwen3") == []


def test_an_audit_error_stops_publication_in_its_run_and_out_of_it(
    made: Project, materialize: Callable[..., dg.ExecuteInProcessResult]
):
    store, batch = Store(made.data), "pi_tasks"
    published = store.known("publication", batch)
    spoiled = [spoil(row) for row in store.read("masked/qwen3", batch, MaskedRow)]
    was = store.known("masked/qwen3", batch)
    store.write("masked/qwen3", batch, spoiled, code_version=was.code_version, inputs=was.inputs)
    result = materialize(made, batch, job="rerender", assets=["audits/qwen3", "publication"], raise_on_error=False)
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed and check.blocking]
    assert not result.success
    assert any(check.severity == dg.AssetCheckSeverity.ERROR for check in failed)
    with pytest.raises(PublicationRefused, match=r"audits/qwen3/pi_tasks: .* told_trained"):
        materialize(made, batch, job="rerender", assets=["publication"])
    assert store.known("publication", batch) == published


def spoil(row: MaskedRow) -> MaskedRow:
    """Everything is learned, whoever said it."""
    return MaskedRow(
        id=row.id,
        conversation_id=row.conversation_id,
        input_ids=row.input_ids,
        labels=row.input_ids,
        attention_mask=row.attention_mask,
        trained=row.trained,
    )


def test_a_batch_without_a_file_says_so(project: Project, materialize: Callable[..., dg.ExecuteInProcessResult]):
    with pytest.raises(Exception, match=r"no file of batch 'nowhere'"):
        materialize(project, "nowhere")
