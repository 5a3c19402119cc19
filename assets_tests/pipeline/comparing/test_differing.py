"""The diff of partitions: before a backfill nothing is written, after it what was replaced is still there."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.comparing.differing import PREVIOUS, differences
from pipeline.comparing.sides import is_revision
from pipeline.comparing.telling import PAGE
from pipeline.errors import SettingsError
from pipeline.resources.store import Store
from pipeline.targets import Project, load_project

BATCHES = ("codex_tasks", "pi_tasks")


def flipped(project: Project) -> Project:
    """Only answers are learned now."""
    settings = project.folder / "tracemill.yaml"
    settings.write_text(settings.read_text().replace("policy: assistant", "policy: answers"))
    return load_project(project.folder)


def files(project: Project) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in project.data.rglob("*") if path.is_file()}


def test_before_a_backfill_all_that_would_change_is_said_and_nothing_written(made: Project, store: Store):
    project, before = flipped(made), files(made)
    qwen3, chatml = differences(project, store, BATCHES, targets=["qwen3", "chatml"])
    assert files(made) == before
    assert (qwen3.batches, qwen3.same, chatml.batches, chatml.same) == (list(BATCHES), 0, [], 2)
    assert chatml.diff.empty
    lost = {kind: sum(store.known("masked/qwen3", b).measures[f"trained {kind}"] for b in BATCHES) for kind in LEARNED}
    assert qwen3.diff.flips == {f"{kind} no longer trained": n for kind, n in lost.items()}


LEARNED = ("reasoning", "tool_call")


def test_after_a_backfill_the_run_says_what_it_changed(
    made: Project, store: Store, materialize: Callable[..., dg.ExecuteInProcessResult]
):
    project = flipped(made)
    (expected,) = differences(project, store, ["pi_tasks"], targets=["qwen3"])
    version = store.known("masked/qwen3", "pi_tasks").code_version
    result = materialize(project, "pi_tasks", job="rerender")
    told = {"/".join(e.asset_key.path): e.materialization for e in result.get_asset_materialization_events()}
    metadata = told["masked/qwen3"].metadata
    assert metadata["rows changed"].value == expected.diff.changed > 0
    assert "reasoning no longer trained" in metadata["rendering diff"].value.replace("\\", "")
    page = Path(metadata["diff page"].value)
    assert page == store.place("masked/qwen3", "pi_tasks") / PAGE
    assert "reasoning no longer trained" in page.read_text(encoding="utf-8")
    assert told["masked/chatml"].metadata["rows changed"].value == 0
    for against in (PREVIOUS, version):
        (again,) = differences(project, store, ["pi_tasks"], targets=["qwen3"], against=against)
        assert again.diff == expected.diff
    materialize(project, "pi_tasks", job="rerender")
    (again,) = differences(project, store, ["pi_tasks"], targets=["qwen3"], against=PREVIOUS)
    assert again.diff == expected.diff, "made again with equal rows, what they replaced is kept"


def test_what_was_replaced_stays_on_disk(
    made: Project, store: Store, materialize: Callable[..., dg.ExecuteInProcessResult]
):
    def kept() -> list[str]:
        return sorted(path.name for path in store.place("masked/qwen3", "pi_tasks").glob("rows-*"))

    first = kept()
    materialize(flipped(made), "pi_tasks", job="rerender", assets=["masked/qwen3"])
    assert len(kept()) == 2
    assert first[0] in kept()


def test_the_code_of_a_revision_is_run_in_a_process_of_its_own(made: Project, store: Store):
    if not is_revision("HEAD"):
        pytest.skip("no git checkout")
    (found,) = differences(made, store, ["pi_tasks"], targets=["qwen3"], against="HEAD")
    now = store.known("rendered/qwen3", "pi_tasks").rows
    assert found.diff.unchanged + found.diff.changed + found.diff.appeared == now
    assert found.diff.unchanged


def test_what_is_neither_version_nor_revision_is_refused(made: Project, store: Store):
    with pytest.raises(SettingsError, match=r"nonsense is no git revision here and made no rows of masked/qwen3"):
        differences(made, store, ["pi_tasks"], targets=["qwen3"], against="nonsense")


def test_the_command_speaks_json_and_says_by_its_exit_whether_anything_differs(made: Project):
    arguments = ["diff", "-p", str(made.folder), "-b", "pi_tasks", "--json"]
    same = CliRunner().invoke(app, arguments)
    assert (same.exit_code, [one["diff"]["changed"] for one in json.loads(same.stdout)]) == (0, [0, 0])
    flipped(made)
    differs = CliRunner().invoke(app, [*arguments, "--target", "qwen3"])
    (one,) = json.loads(differs.stdout)
    assert (differs.exit_code, one["batches"]) == (1, ["pi_tasks"])
    assert one["diff"]["causes"][0]["example"]["was"]
    told = CliRunner().invoke(app, arguments[:-1])
    assert "no longer trained" in told.stdout
