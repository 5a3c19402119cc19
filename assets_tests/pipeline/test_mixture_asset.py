"""The asset of a mixture: rows of batches and from outside, stale when they change."""

import json
import re
from pathlib import Path

import dagster as dg
import msgspec
import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from pipeline.blending import WHOLE, candidates, grams_of, mixture_inputs, stale_mixtures
from pipeline.cli import app
from pipeline.definitions import definitions_of
from pipeline.errors import SettingsError
from pipeline.mixtures import Curation, Mixture
from pipeline.records import MaskedRow, MixedRow
from pipeline.resources.store import Store
from pipeline.targets import SETTINGS, Project, load_project


@pytest.fixture
def blended(made: Project) -> Project:
    """The example with a mixture of its batches and of rows of others."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n} times {n}?"},
                {"role": "assistant", "content": f"{n * n}."},
            ]
        }
        for n in range(30)
    ]
    (made.folder / "extra.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"prompt": "no messages"}])))
    settings = yaml.safe_load((made.folder / SETTINGS).read_text())
    settings["mixtures"] = {
        "main": {
            "target": "qwen3",
            "by": "rows",
            "sources": {
                "codex": {"batches": "codex_*", "percentage": 60},
                "chats": {"path": "extra.jsonl", "percentage": 40},
            },
            "splits": {"validation": 20},
            "pack": 4096,
        }
    }
    (made.folder / SETTINGS).write_text(yaml.safe_dump(settings))
    return load_project(made.folder)


def test_the_asset_mixes_batches_and_outside_rows_as_the_settings_say(blended: Project):
    store = Store(blended.data)
    (behind,) = stale_mixtures(blended, store)
    assert (behind.asset, behind.batch, behind.reason) == ("mixture/main", WHOLE, "missing")
    runner = CliRunner()
    shown = runner.invoke(app, ["mix", "--json", "--project", str(blended.folder)])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout.strip().splitlines()[-1])["main"]
    chats, codex = sorted(told["shares"], key=lambda share: share["source"])
    assert (codex["asked"], chats["asked"]) == (0.6, 0.4)
    assert abs(codex["realized"] - 0.6) < 0.5 / (codex["rows"] + chats["rows"]) + 1e-9
    assert set(told["crossings"].values()) == {0}
    assert told["splits"]["validation"] > 0
    rows = list(store.read("mixture/main", WHOLE, MixedRow))
    masked = {row.id: row for row in store.read("masked/qwen3", "codex_tasks", MaskedRow)}
    for row in rows:
        assert len(row.input_ids) <= 4096
        for name, ids, labels in zip(row.rows, *_cut(row), strict=True):
            if name in masked:
                assert np.array_equal(ids, masked[name].input_ids)
                assert np.array_equal(labels[1:], masked[name].labels[1:])
    reasons = {reject.reason for reject in store.rejects("mixture/main", WHOLE)}
    assert "no_messages" in reasons
    assert stale_mixtures(blended, store) == []
    words = runner.invoke(app, ["mix", "main", "--project", str(blended.folder)])
    assert "crossing a split: repository 0, prompt 0, task 0, near duplicate 0" in " ".join(words.stdout.split())


def _cut(row: MixedRow) -> tuple[list[np.ndarray], list[np.ndarray]]:
    ends = np.cumsum(row.seq_lengths)[:-1]
    return np.split(row.input_ids, ends), np.split(row.labels, ends)


def test_a_mixture_whose_rows_changed_is_stale(blended: Project):
    store = Store(blended.data)
    version = next(iter(stale_mixtures(blended, store)))
    assert version.reason == "missing"
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions_of(blended).resolve_job_def("mix")
        assert job.execute_in_process(instance=instance).success
    assert stale_mixtures(blended, store) == []
    manifest = store.known("masked/qwen3", "codex_tasks")
    place = store.place("masked/qwen3", "codex_tasks") / "manifest.json"
    place.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, data_version="other.1")))
    (behind,) = stale_mixtures(blended, store)
    assert behind.reason == "upstream: masked/qwen3/codex_tasks changed"


def test_a_mixture_is_stale_when_a_file_of_others_or_a_benchmark_is_another(blended: Project):
    (blended.folder / "bench").mkdir()
    (blended.folder / "bench/a.txt").write_text("nobody ever says these nine words in a row")
    settings = yaml.safe_load((blended.folder / SETTINGS).read_text())
    settings["mixtures"]["main"]["curate"] = {"benchmarks": ["bench/*.txt"]}
    (blended.folder / SETTINGS).write_text(yaml.safe_dump(settings))
    project, store = load_project(blended.folder), Store(blended.data)
    with dg.DagsterInstance.ephemeral() as instance:
        assert definitions_of(project).resolve_job_def("mix").execute_in_process(instance=instance).success
    assert stale_mixtures(project, store) == []
    for name in ("extra.jsonl", "bench/a.txt"):
        path, was = project.folder / name, (project.folder / name).read_text()
        path.write_text(was + "\n")
        (behind,) = stale_mixtures(project, store)
        assert behind.reason == f"upstream: file {name} changed"
        path.write_text(was)
    assert stale_mixtures(project, store) == []
    (project.folder / "bench/b.txt").write_text("more")
    assert [one.reason for one in stale_mixtures(project, store)] == ["upstream: file bench/b.txt changed"]


def test_a_share_that_is_too_small_for_a_row_is_a_warning_of_the_asset_and_is_printed(blended: Project):
    settings = yaml.safe_load((blended.folder / SETTINGS).read_text())
    sources = settings["mixtures"]["main"]["sources"]
    settings["mixtures"]["main"]["by"] = "tokens"
    sources["codex"]["percentage"], sources["chats"]["percentage"] = 1, 99
    (blended.folder / SETTINGS).write_text(yaml.safe_dump(settings))
    project = load_project(blended.folder)
    with dg.DagsterInstance.ephemeral() as instance:
        made = definitions_of(project).resolve_job_def("mix").execute_in_process(instance=instance)
    assert made.success
    (check,) = [one for one in made.get_asset_check_evaluations() if one.check_name == "every_share_has_rows"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "source codex: 1.00% of tokens was asked" in str(check.metadata["unheard"].value)
    shown = CliRunner().invoke(app, ["mix", "--project", str(project.folder)])
    assert "source codex: 1.00% of tokens was asked" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("codex", "chats", "told"),
    [
        ({"percentage": 70}, {"weight": 1}, "mixtures.main: a mixture in percentage and weight"),
        ({"percentage": 70}, {"percentage": 70}, "mixtures.main: percentages add up to 140 of 100"),
        ({"weight": 1}, {}, "mixtures.main: source chats: it has no weight"),
    ],
)
def test_shares_that_make_no_mixture_are_refused_before_anything_is_read(blended: Project, codex, chats, told):
    settings = yaml.safe_load((blended.folder / SETTINGS).read_text())
    settings["mixtures"]["main"]["sources"] = {
        "codex": {"batches": "codex_*", **codex},
        "chats": {"path": "extra.jsonl", **chats},
    }
    (blended.folder / SETTINGS).write_text(yaml.safe_dump(settings))
    with pytest.raises(SettingsError, match=told):
        definitions_of(load_project(blended.folder))


def test_a_tag_that_nobody_has_is_named_with_those_there_are(blended: Project):
    store, source = Store(blended.data), {"tag": "hard"}
    mixture = blended.settings.mixtures["main"]
    asked = Mixture.model_validate({"target": mixture.target, "sources": {"rare": source}})
    with pytest.raises(
        SettingsError, match=r"source rare: no row of masked/qwen3 has the tag hard; there are none; a prom"
    ):
        candidates(blended, asked, store, salt=b"")


def test_benchmarks_may_lie_anywhere_and_a_folder_is_none(blended: Project, tmp_path: Path):
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "far/deep/b.txt").write_text("nobody ever says these nine words in a row")
    (blended.folder / "near.txt").write_text("somebody may well say these eight words here")
    store, mixture = Store(blended.data), blended.settings.mixtures["main"]

    def asked(*benchmarks: str) -> Mixture:
        return mixture.model_copy(update={"curate": Curation(benchmarks=benchmarks)})

    inputs = mixture_inputs(blended, asked(f"{tmp_path}/far/**/*.txt"), store)
    assert sum("b.txt" in name for name in inputs) == 1
    assert grams_of(blended, asked(f"{tmp_path}/far/*/*.txt", "near.txt"))
    for nothing in ("prompts", "nowhere/*.txt"):
        with pytest.raises(SettingsError, match=rf"{re.escape(nothing)}: no file of .*; name files"):
            grams_of(blended, asked(nothing))


@pytest.mark.parametrize("named", [{"path": ""}, {"batches": ""}, {"tag": ""}, {"repo": ""}])
def test_a_source_that_is_an_empty_word_is_refused(named: dict):
    with pytest.raises(ValidationError, match="at least 1 character"):
        Mixture.model_validate({"target": "t", "sources": {"a": named}})
