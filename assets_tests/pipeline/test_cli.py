"""`tracemill` from the terminal: a project from nothing, refusals in a line, help that helps."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import cli
from pipeline.commands import starting
from pipeline.projects import create_project
from pipeline.report import places
from pipeline.resources.store import Store
from pipeline.staleness import upstream
from pipeline.targets import EXAMPLE, Project, Publication, load_project

ROOT = Path(__file__).parents[2]
COMMANDS = [str(command.name or getattr(command.callback, "__name__", "")) for command in cli.app.registered_commands]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tracemill(tmp_path: Path) -> Run:
    """(*arguments, in_=folder) -> the command as a user runs it."""
    unset = ("TRACEMILL_PROJECT", "DAGSTER_HOME")
    env = {**{key: value for key, value in os.environ.items() if key not in unset}, "COLUMNS": "80"}

    def run(*arguments: str, in_: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        return subprocess.run(command, cwd=in_, env=env, capture_output=True, text=True, timeout=600, check=False)

    return run


@pytest.fixture
def first(tmp_path: Path) -> Project:
    return create_project(tmp_path / "first")


@pytest.fixture(scope="module")
def materialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init` writes and `materialize` makes of it, once."""
    folder = tmp_path_factory.mktemp("cli") / "first"
    create_project(folder)
    command = [sys.executable, "-m", "pipeline.cli", "materialize", "-p", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return folder


def test_a_new_project_can_be_made_at_once(tracemill: Run, tmp_path: Path):
    told = tracemill("init", "first")
    assert told.returncode == 0
    assert "tracemill materialize --project first" in told.stdout
    project = load_project(tmp_path / "first")
    assert list(project.batch_files()) == ["first"]
    recorded = EXAMPLE / "prompts/sessions/codex_tasks/one_command.jsonl"
    assert (project.prompts / "sessions/first/hello.jsonl").read_bytes() == recorded.read_bytes()
    assert tracemill("stale", "-p", "first").returncode == 1
    first = json.loads(tracemill("stale", "--json", "-p", "first").stdout)[0]
    assert first == {"asset": "prompts", "batch": "first", "cause": "missing", "reason": "missing"}


def test_materialize_makes_every_partition_and_then_has_nothing_to_do(materialized: Path, tracemill: Run):
    project = load_project(materialized)
    store = Store(project.data)
    assert all(store.known(asset, "first").rejects == {} for asset in upstream(project))
    assert store.known("masked/first", "first").measures["trained"] > 0
    again = tracemill("materialize", in_=materialized)
    assert again.returncode == 0
    assert "nothing was run" in again.stdout
    fresh = tracemill("stale", in_=materialized)
    assert (fresh.returncode, fresh.stdout) == (0, "✓ everything is up to date\n")
    assert json.loads(tracemill("stale", "--json", in_=materialized).stdout) == []


def test_a_file_that_cannot_be_a_batch_is_named(materialized: Path, tracemill: Run):
    misnamed = materialized / "prompts" / "two words.jsonl"
    misnamed.touch()
    try:
        told = tracemill("materialize", in_=materialized).stdout
    finally:
        misnamed.unlink()
    assert "two words.jsonl: not a batch's name; rename it" in told


@pytest.mark.parametrize(
    ("publish", "told"),
    [
        ({}, "load_dataset('{folder}/dataset', 'first')\n"),
        ({"to": "hub", "repo": "me/set"}, "load_dataset('me/set', 'first')\n"),
        (
            {"to": "hub", "repo": "me/set", "create_pr": True},
            "load_dataset('me/set', 'first'), once its pull request is",
        ),
    ],
)
def test_the_report_says_where_the_dataset_is(first: Project, publish: dict, told: str):
    first.settings = first.settings.model_copy(update={"publish": Publication.model_validate(publish)})
    console = Console(width=1000)
    with console.capture() as said:
        console.print(places(first))
    assert told.format(folder=first.folder) in said.get()


def test_the_report_fits_a_terminal_of_80_columns(materialized: Path, tracemill: Run):
    table, places = tracemill("materialize", in_=materialized).stdout.split("✓")
    assert max(map(len, table.splitlines())) <= 80
    assert all(asset in table for asset in upstream(load_project(materialized)))
    assert f"load_dataset('{materialized}/dataset', 'first')" in places
    assert f"{materialized}/data/audits/first/first/tokens.html\n" in places


def test_a_changed_setting_is_stale_with_its_reason(materialized: Path, tracemill: Run, tmp_path: Path):
    shutil.copytree(materialized, tmp_path / "copy")
    settings = tmp_path / "copy" / "tracemill.yaml"
    settings.write_text(settings.read_text().replace("policy: assistant", "policy: answers"))
    told = tracemill("stale", in_=tmp_path / "copy")
    assert told.returncode == 1
    assert "masked/first" in told.stdout
    assert "rendered/first" not in told.stdout


def test_a_preview_shows_what_is_trained(materialized: Path, tracemill: Run):
    told = tracemill("preview", in_=materialized)
    assert told.returncode == 0
    assert "How many readings are in readings/monday.csv" in told.stdout
    assert "message 4: proved, trained" in told.stdout
    name = told.stdout.split()[0]
    assert (
        tracemill("preview", name[:8], "--batch", "first", "--target", "first", in_=materialized).stdout == told.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "why", "cure"),
    [
        (("stale", "-p", "nowhere"), "nowhere/tracemill.yaml does not exist", "tracemill init"),
        (("stale",), "is no project", "`tracemill init my-dataset` writes one"),
        (("ui",), "is no project", "`tracemill demo` the example"),
        (("init", "first"), "first is not empty", "name a new folder"),
        (("init", "first/tracemill.yaml"), "is a file", "name a new folder"),
        (("demo", "first/prompts"), "holds something that is no project", "name another folder"),
        (("materialize", "second", "-p", "first"), "no batch second", "it holds first"),
        (("preview", "-p", "first", "--target", "[x]"), "no target '[x]'", "it has first"),
        (("preview", "-p", "first"), "no row '0'", "`tracemill materialize` makes rows"),
        (("convert", "first/prompts", "--out", "first"), "--out first is a folder", "name a file in it"),
        (("convert", "first", "--simple", "--out", "first/tracemill.yaml"), "is a file", "name a folder"),
        (("extract", "--out", "first/tracemill.yaml/x.jsonl"), "nothing can be written to", "name another place"),
    ],
)
@pytest.mark.usefixtures("first")
def test_a_refusal_is_one_line_with_its_cure(tracemill: Run, arguments: tuple[str, ...], why: str, cure: str):
    told = tracemill(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    (line,) = told.stderr.splitlines()
    assert why in line
    assert cure in line


def test_a_wrong_setting_is_refused_by_file_and_key(first: Project, tracemill: Run):
    settings = first.folder / "tracemill.yaml"
    settings.write_text(settings.read_text().replace("max_length: 8192", "max_length: -1"))
    (line,) = tracemill("materialize", "-p", "first").stderr.splitlines()
    assert "first/tracemill.yaml: targets.first.max_length: Input should be greater than 0" in line


def test_a_batch_of_which_nothing_survives_says_why(first: Project, tracemill: Run):
    (first.prompts / "sessions/first/hello.jsonl").unlink()
    told = tracemill("materialize", "-p", "first")
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith("PipelineError: batch first: conversations: DagsterAssetCheckFailedError")
    assert "traces: missing_session: line 1:session: 'sessions/first/hello.jsonl' cannot be found; put it" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_how_it_is_used(tracemill: Run, command: str):
    told = tracemill(command, "--help")
    assert told.returncode == 0
    assert "Examples" in told.stdout
    assert f"tracemill {command}" in told.stdout.partition("Examples")[2]


def test_help_waits_for_nothing_heavy():
    asked = (
        "import sys; sys.argv[1:] = ['--help']; import pipeline.cli as cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    )
    heavy = ("dagster", "datasets", "transformers", "numpy", "renderers")
    slow = f"print([name for name in {heavy} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", asked + slow], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("[]\n")
    assert all(command in told.stdout for command in COMMANDS)


@pytest.mark.parametrize("words", [["stale"], ["why", "0", "--token", "3"]])
def test_what_is_asked_often_waits_for_nothing_that_it_does_not_need(materialized: Path, words: list[str]):
    asked = (
        f"import sys; sys.argv[1:] = {words}; import pipeline.cli as cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    )
    heavy = ("dagster", "datasets", "fsspec", "huggingface_hub", "kingfisher_sdk", "pandas", "transformers", "upath")
    heavy += ("numpy.ma", "pyarrow.compute")
    slow = f"print([name for name in {heavy} if name in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", asked + slow], cwd=materialized, capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-1] == "[]"
    assert len(told.stdout.splitlines()) > 1


def test_ui_serves_the_project_as_the_workspace_file_does(first: Project, monkeypatch: pytest.MonkeyPatch):
    started: list[list[str]] = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    shutil.rmtree(first.folder / ".dagster")
    starting.ui(first.folder, port=3111)
    assert started[0][-6:] == ["dagster", "dev", "-w", str(starting.WORKSPACE), "-p", "3111"]
    assert starting.WORKSPACE.read_bytes() == (ROOT / "workspace.yaml").read_bytes()
    assert (Path(os.environ["DAGSTER_HOME"]) / "dagster.yaml").is_file()
    assert os.environ["TRACEMILL_PROJECT"] == str(first.folder)


def test_a_template_is_certified(tracemill: Run, tmp_path: Path):
    told = tracemill("certify", "example", "--json")
    assert told.returncode == 0, told.stderr
    findings = {finding["question"]: finding for finding in json.loads(told.stdout)["findings"]}
    assert findings["history is only added to"]["answer"] == "yes"
    assert findings["stop"]["text"].endswith("<|im_end|>\n")
    assert [message["role"] for message in findings["tool results"]["messages"]] == ["user", "assistant", "tool"]
    assert not (tmp_path / ".hypothesis").exists()


def test_a_template_of_the_hub_is_certified_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept = tmp_path / "hub" / "models--who--mine"
    shutil.copytree(EXAMPLE / "tokenizer", kept / "snapshots" / ("a" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    env = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", "pipeline.cli", "certify"]
    told = subprocess.run([*command, "who/mine", "--json"], env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["model"] == "who/mine"
    told = subprocess.run([*command, "who/else"], env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "name a folder, or an owner/name of the Hub" in " ".join(told.stderr.split())


def test_a_template_that_never_ends_is_stopped(tracemill: Run, tmp_path: Path):
    shutil.copytree(EXAMPLE / "tokenizer", tmp_path / "mine")
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (tmp_path / "mine" / "chat_template.jinja").write_text(endless)
    told = tracemill("certify", "mine", "--limit", "1")
    assert told.returncode == 2
    assert "SettingsError: mine: its chat template took longer than 1 s, and was stopped" in told.stderr
