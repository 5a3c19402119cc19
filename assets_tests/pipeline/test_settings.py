"""What `tracemill.yaml` says wrong is told by file, field and line, with the cure; nothing of it crashes."""

from pathlib import Path

import pytest
from huggingface_hub.utils import validate_repo_id

from pipeline.errors import SettingsError
from pipeline.targets import parse_settings

TARGET = "targets:\n  a: {model: example}\n"
MIXTURE = f"{TARGET}mixtures:\n  m:\n    target: a\n    sources: {{x: {{path: e}}}}\n"
WRONG = {
    "publsh: {}": r"publsh: no such setting; did you mean publish\? \(line 3\)",
    "collect: {limits: {concurency: 3}}": r"collect.limits.concurency: .* concurrency\? \(line 3\)",
    "collect: {endpoint: {url: x}}": "collect.endpoint.url: no such setting; there are base_url, api, ",
    "collect: {sampling: {temprature: 1}}": "sampling: .*temprature.*there are temperature",
    "collect: {sampling: {temperature: hot}}": "sampling: .*temperature",
    "collect: {regenerate: {max_partitions: 2}}": "collect.regenerate.max_usd: it must be set",
    "scrub:": "scrub: settings are wanted",
    "scrub: {identity: Jo Smith}": "scrub.identity: a list is wanted",
    "engine: spark": "engine: Input should be 'local' or 'ray'",
    "targets: {b: {model: example}}": r"targets: line 1 has it, too; say it once \(line 3\)",
    "publish: {folder: ., folder: x}": r"folder: line 3 has it, too",
    "publish: {folder: .}": "publish.folder: .*name a folder of its own",
    "publish: {folder: ..}": "publish.folder: .*name a folder of its own",
    "publish: {folder: prompts/}": "publish.folder: .*name a folder of its own",
    "publish: {repo: no/such/thing}": r"publish.repo: 'no/such/thing' names no repository; write .*\(line 3\)",
    "publish: {repo: ''}": "publish.repo: '' names no repository",
    "publish: {repo: me/my set}": "publish.repo: 'me/my set' names no repository",
    "publish: {repo: ' me/set'}": "publish.repo: ' me/set' names no repository",
    "publish: {repo: set}": "publish.repo: 'set' names no repository",
    "publish: {repo: https://huggingface.co/me/set}": "publish.repo: 'https://.* names no repository",
    "publish: {splits: {test: 95}}": r"publish.splits.test: a share of 1 is wanted: for 95 percent say 0.95, or 95%",
    "publish: {splits: {test: 1}}": "publish.splits.test: a share of 1 is wanted: for 1 percent say 0.01, or 1%",
    "publish: {splits: {test: 100%}}": "publish.splits.test: Input should be less than 1",
    "publish: {splits: {test: x%}}": "publish.splits.test: Input should be a valid number",
    "publish: {folder: data}": "publish.folder: .*name a folder of its own",
}


@pytest.fixture
def said(tmp_path: Path):
    def parse(text: str | bytes):
        path = tmp_path / "tracemill.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return parse_settings(path)

    return parse


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_section_is_told_with_its_line_and_the_cure(said, line: str):
    with pytest.raises(SettingsError, match=rf"tracemill\.yaml.*{WRONG[line]}"):
        said(f"{TARGET}{line}\n")


@pytest.mark.parametrize(
    "target", ["{model: example, max_lenght: 3}", "{model: example, train_on: [[answer]]}", "", "{}"]
)
def test_a_wrong_target_is_told_with_its_line(said, target: str):
    with pytest.raises(SettingsError, match=r"targets\.a.*\(line 3\)"):
        said(f"# mine\ntargets:\n  a: {target}\n")


def test_a_typo_in_a_mixture_is_told_by_the_names_of_its_place(said):
    with pytest.raises(SettingsError, match=r"mixtures\.m\.curate\.quality\.refusd: .*mean refused\? \(line 7\)"):
        said(f"{MIXTURE}    curate: {{quality: {{refusd: true}}}}\n")


@pytest.mark.parametrize(
    "text",
    [
        "targets:\n  a: {model: \xe9}\n".encode("latin-1"),
        TARGET.encode("utf-16"),
        b"targets:\n  a: {model: example, today: 2025-13-45}\n",
        b"targets: " + b"[" * 3000,
        b"targets:\n\ta: {model: example}\n",
        b"- a",
        b"",
        b"[]",
    ],
)
def test_what_is_no_settings_file_is_refused_and_never_crashes(said, text: bytes):
    with pytest.raises(SettingsError, match=r"tracemill\.yaml"):
        said(text)


def test_settings_may_be_written_by_windows(said):
    windows = "\ufeff" + TARGET.replace("\n", "\r\n")
    assert said(windows) == said(TARGET)


def test_names_of_repositories_are_those_that_the_hub_takes(said):
    for name in ("me/set", "o/n", "me/a.b-c_d", "Me_2/" + "n" * 96):
        assert said(f"{TARGET}publish: {{repo: {name}}}\n").publish.repo == name
        validate_repo_id(name)
    for name in ("me/a--b", "me/a..b", "me/set.git", "-me/set", "me/.set", "me/" + "n" * 97):
        with pytest.raises(SettingsError, match="names no repository"):
            said(f"{TARGET}publish: {{repo: {name}}}\n")


@pytest.mark.parametrize("share", ["0.05", "5.0e-2", ".05"])
def test_a_fraction_is_no_percentage_of_a_mixture(said, share: str):
    with pytest.raises(
        SettingsError, match=r"mixtures\.m\.splits\.test: percent are wanted: 5 is 0\.05 of all.*0\.05%"
    ):
        said(f"{MIXTURE}    splits: {{test: {share}}}\n")


def test_a_share_that_names_its_scale_is_taken_in_both_places(said):
    text = f"{MIXTURE}    splits: {{test: 5%, few: 0.05%}}\npublish: {{splits: {{test: 5%, few: 0.05%}}}}\n"
    found = said(text)
    assert found.mixtures["m"].splits == {"test": 5.0, "few": 0.05}
    assert found.publish.splits == {"test": 0.05, "few": 0.0005}
    plain = said(f"{MIXTURE}    splits: {{test: 5, few: 1}}\npublish: {{splits: {{test: 0.05, few: 0.9}}}}\n")
    assert (plain.mixtures["m"].splits, plain.publish.splits) == ({"test": 5, "few": 1}, {"test": 0.05, "few": 0.9})


def test_a_percentage_of_a_source_may_name_its_scale_too(said):
    text = f"{TARGET}mixtures: {{m: {{target: a, sources: {{x: {{path: e, percentage: %s}}}}}}}}\n"
    assert [said(text % told).mixtures["m"].sources["x"].percentage for told in ("70", "70%", "0.5%")] == [70, 70, 0.5]
    for wrong in ("101%", "0%", "x%"):
        with pytest.raises(SettingsError, match=r"sources\.x\.percentage"):
            said(text % wrong)
