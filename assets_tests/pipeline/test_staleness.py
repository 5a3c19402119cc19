"""A change makes stale what it touches and everything after it; anything else makes nothing stale."""

import shutil
from collections.abc import Callable

import dagster as dg
import msgspec
import pytest
from msgspec.structs import replace

from assets_tests.pipeline.retargeted import with_target
from pipeline import links
from pipeline.errors import StoreError
from pipeline.fingerprint import Behaviour, corpus, fingerprint
from pipeline.resources.store import Store
from pipeline.staleness import VERSIONS, code_versions, file_hash, rerenderable, stale, upstream
from pipeline.targets import Project

QWEN3 = ["rendered/qwen3", "masked/qwen3", "audits/qwen3"]
AFTER_TRACES = ["conversations", *QWEN3, "rendered/chatml", "masked/chatml", "audits/chatml", "publication"]


def assets(project: Project, store: Store, batch: str = "pi_tasks") -> list[str]:
    return [one.asset for one in stale(project, store) if one.batch == batch]


def reasons(project: Project, store: Store) -> dict[str, str]:
    return {one.asset: one.reason for one in stale(project, store) if one.batch == "pi_tasks"}


def test_all_of_a_new_project_is_missing(project: Project):
    found = stale(project, Store(project.data))
    assert [one.asset for one in found if one.batch == "codex_tasks"] == list(upstream(project))
    assert {one.reason for one in found} == {"missing"}


def test_what_was_just_made_is_in_sync(made: Project, store: Store):
    assert stale(made, store) == []


def test_versions_are_chained(made: Project):
    versions = code_versions(made)
    changed = code_versions(with_target(made, "qwen3", policy="answers"))
    assert [a for a in versions if versions[a] != changed[a]] == ["masked/qwen3", "audits/qwen3", "publication"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"policy": "answers"}, [*QWEN3[1:], "publication"]),
        ({"max_length": 500}, [*QWEN3[1:], "publication"]),
        ({"train_on": ["answer"]}, [*QWEN3[1:], "publication"]),
        ({"renderer": "traced"}, [*QWEN3, "publication"]),
        ({"history": "last"}, [*QWEN3, "publication"]),
        ({"flags": {"enable_thinking": False}}, [*QWEN3, "publication"]),
    ],
)
def test_a_setting_makes_its_own_target_stale(made: Project, store: Store, change: dict, expected: list[str]):
    assert assets(with_target(made, "qwen3", **change), store) == expected


def test_a_new_target_is_missing_and_so_the_publication_stale(made: Project, store: Store):
    settings = made.settings.model_copy(update={"targets": {**made.targets, "more": made.targets["chatml"]}})
    expected = {
        "rendered/more": "missing",
        "masked/more": "missing",
        "audits/more": "missing",
    }
    found = reasons(Project(made.folder, settings), store)
    assert found.pop("publication") == "upstream: masked/more is stale"
    assert found == expected


def test_a_fixed_renderer_makes_exactly_its_targets_stale(
    made: Project, store: Store, monkeypatch: pytest.MonkeyPatch, materialize: Callable[..., dg.ExecuteInProcessResult]
):
    kept = {asset: store.known(asset, "pi_tasks").rows_file for asset in upstream(made)}

    def fixed(project: Project, name: str) -> Behaviour:
        found = fingerprint(project, name)
        told = {one: "fixed" if number < 3 else told for number, (one, told) in enumerate(found.told.items())}
        return replace(found, told=told) if name == "qwen3" else found

    monkeypatch.setattr(links, "fingerprint", fixed)
    assert reasons(made, store)["rendered/qwen3"] == f"renderer qwen3: 3 of {len(corpus())} corpus conversations differ"
    assert assets(made, store) == assets(made, store, "codex_tasks") == [*QWEN3, "publication"]
    materialize(made, "pi_tasks", job="rerender")
    assert assets(made, store) == []
    assert assets(made, store, "codex_tasks") == [*QWEN3, "publication"]
    now = {asset: store.known(asset, "pi_tasks").rows_file for asset in upstream(made)}
    assert now == kept, "a fix that changes no row here publishes nothing here"


def test_a_prompt_file_that_changed_makes_all_of_its_batch_stale(made: Project, store: Store):
    batch = made.prompts / "pi_tasks.jsonl"
    batch.write_text(batch.read_text() + "\n")
    found = reasons(made, store)
    assert list(found) == list(upstream(made))
    assert (found.pop("prompts"), found.pop("traces")) == ("the prompt file changed", "upstream: prompts is stale")
    assert assets(made, store, "codex_tasks") == []


def test_a_change_that_changes_no_row_is_spent_after_one_step(
    made: Project, store: Store, materialize: Callable[..., dg.ExecuteInProcessResult]
):
    batch = made.prompts / "pi_tasks.jsonl"
    batch.write_text(batch.read_text() + "\n")
    materialize(made, "pi_tasks", assets=["prompts"])
    assert stale(made, store) == []


def test_a_lost_partition_and_what_was_made_from_it_are_stale(made: Project, store: Store):
    shutil.rmtree(made.data / "masked" / "qwen3" / "pi_tasks")
    assert reasons(made, store) == {
        "masked/qwen3": "missing",
        "audits/qwen3": "upstream: masked/qwen3 is stale",
        "publication": "upstream: masked/qwen3 is stale",
    }


def test_a_dataset_that_is_gone_is_published_again(made: Project, store: Store):
    shutil.rmtree(made.folder / "dataset" / "qwen3")
    assert reasons(made, store) == {"publication": "qwen3/train/pi_tasks.parquet is gone from dataset"}


def test_a_manifest_that_cannot_be_read_is_stale_and_spoils_no_other_batch(made: Project, store: Store):
    (store.place("masked/qwen3", "pi_tasks") / "manifest.json").write_text('{"asset": ')
    found = reasons(made, store)
    assert list(found) == ["masked/qwen3", "audits/qwen3", "publication"]
    assert found["masked/qwen3"].startswith("masked/qwen3/pi_tasks: manifest.json cannot be read: ")
    (store.place("traces", "pi_tasks") / "manifest.json").write_text("{")
    assert "once its folder is deleted, and runs its prompts again" in reasons(made, store)["traces"]
    assert rerenderable(made, store) == {}, "there is nothing to render"
    shutil.rmtree(made.data / "masked" / "qwen3" / "codex_tasks")
    assert list(rerenderable(made, store)) == ["codex_tasks"]


def test_what_was_paid_for_and_is_damaged_is_not_bought_again_unasked(
    made: Project, store: Store, materialize: Callable[..., dg.ExecuteInProcessResult]
):
    manifest = store.place("traces", "pi_tasks") / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(StoreError, match=r"traces/pi_tasks: manifest\.json cannot be read"):
        materialize(made, "pi_tasks")
    assert manifest.read_text() == "{"


@pytest.mark.parametrize("lost", ["manifest", "rows"])
def test_a_damaged_partition_is_made_anew_though_nothing_can_be_compared(
    made: Project, store: Store, materialize: Callable[..., dg.ExecuteInProcessResult], lost: str
):
    was = store.known("masked/qwen3", "pi_tasks")
    place = store.place("masked/qwen3", "pi_tasks")
    (place / ("manifest.json" if lost == "manifest" else was.rows_file)).write_text("{")
    changed = with_target(made, "qwen3", policy="answers")
    materialize(changed, "pi_tasks", job="rerender")
    assert reasons(changed, store) == {}
    assert store.known("masked/qwen3", "pi_tasks").rows_file != was.rows_file


@pytest.mark.parametrize("left", [None, 100])
def test_rows_that_are_lost_are_stale(made: Project, store: Store, left: int | None):
    file = store.place("rendered/qwen3", "pi_tasks") / store.known("rendered/qwen3", "pi_tasks").rows_file
    held = file.read_bytes()
    file.unlink() if left is None else file.write_bytes(held[:left])
    found = reasons(made, store)
    assert found["rendered/qwen3"] == f"{file.name} is gone, or cut short"
    assert list(found) == ["rendered/qwen3", "masked/qwen3", "audits/qwen3", "publication"]
    file.write_bytes(held)
    assert reasons(made, store) == {}


def test_rows_that_were_made_anew_upstream_are_a_reason(made: Project, store: Store):
    was = store.known("traces", "pi_tasks")
    store.write("traces", "pi_tasks", [], code_version=was.code_version, inputs=was.inputs)
    found = reasons(made, store)
    assert list(found) == AFTER_TRACES
    assert found["conversations"] == "upstream: traces changed"


def test_no_change_of_code_makes_paid_work_stale(made: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(links, "code_of", lambda project, *entries, without=(): "another")
    assert assets(made, Store(made.data)) == AFTER_TRACES


def test_a_version_of_code_is_remembered_until_a_source_changes(made: Project, monkeypatch: pytest.MonkeyPatch):
    before = code_versions(made)
    monkeypatch.setattr(links.Sources, "version_of", lambda sources, *entries, without: "another")
    assert code_versions(made) == before
    monkeypatch.setattr(links, "digest", lambda: "of other sources")
    assert {name for name, told in code_versions(made).items() if told != before[name]} == set(AFTER_TRACES)


def test_a_stale_partition_says_what_has_changed(made: Project, store: Store):
    flipped = with_target(made, "qwen3", policy="answers", max_length=500)
    found = {one.asset: (one.cause, one.reason) for one in stale(flipped, store) if one.batch == "pi_tasks"}
    assert found == {
        "masked/qwen3": ("policy", "policy: answer, reasoning, stop, tool_call → answer, stop"),
        "audits/qwen3": ("upstream", "upstream: masked/qwen3 is stale"),
        "publication": ("upstream", "upstream: masked/qwen3 is stale"),
    }


def test_rows_that_nobody_audited_say_so(made: Project, store: Store):
    shutil.rmtree(made.data / "audits" / "qwen3" / "pi_tasks")
    assert reasons(made, store)["audits/qwen3"] == "never audited"


def test_a_version_of_which_nothing_is_known_is_said(made: Project, store: Store):
    shutil.rmtree(made.data / VERSIONS)
    found = reasons(with_target(made, "qwen3", policy="answers"), store)
    version = store.known("masked/qwen3", "pi_tasks").code_version
    assert found["masked/qwen3"] == f"made by code version {version}, of which nothing is known here"


def test_a_thousand_partitions_are_judged(made: Project, store: Store):
    known = {asset: store.known(asset, "pi_tasks") for asset in upstream(made)}
    for file in made.prompts.glob("*.jsonl"):
        batch = file.read_bytes()
        file.unlink()
    for number in range(1000):
        file = made.prompts / f"batch-{number:04}.jsonl"
        file.write_bytes(batch)
        for asset, manifest in known.items():
            inputs = {"file": file_hash(file)} if asset == "prompts" else manifest.inputs
            place = made.data / asset / file.stem
            place.mkdir()
            (place / manifest.rows_file).hardlink_to(made.data / asset / "pi_tasks" / manifest.rows_file)
            (place / "manifest.json").write_bytes(
                msgspec.json.encode(replace(manifest, batch=file.stem, inputs=inputs))
            )
    assert stale(made, store) == []
    shutil.rmtree(made.data / "audits" / "qwen3")
    late = stale(made, store)
    assert [one.reason for one in late if one.asset == "audits/qwen3"] == ["never audited"] * 1000
