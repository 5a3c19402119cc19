"""What `tracemill.yaml` says wrong is told by file, field and line, with the cure; nothing of it crashes."""

from pathlib import Path

import pytest

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
