"""`tracemill generate`: a project's prompts and teich's config.yaml, run, resumed and run anew from the terminal."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from assets_tests.recording.model import Reply, ScriptedModel
from pipeline.cli import app
from pipeline.configs import Config
from pipeline.errors import PipelineError, SettingsError
from pipeline.generating import Watched, progress_on
from pipeline.records import Prompt, Reject, Trace, Usage
from pipeline.resources.hub import token_of
from pipeline.resources.store import Store
from pipeline.settings import TOKENS
from pipeline.sourcing.files import read_batch
from pipeline.targets import load_project
from pipeline.training import load_traces

CONFIG = """\
agent: {provider: chat}
model: {model: gpt-5, approval_policy: never, sandbox: danger-full-access, reasoning_effort: low}
api: {provider: openai, wire_api: chat/completions, base_url: "%s", api_key: sk-in-the-file}
prompts_file: tasks.csv
output: {traces_dir: ./output, pretty_name: Mine}
publish: {repo_id: me/mine, private: false}
max_concurrency: 2
timeout_seconds: 60
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TEICH_MODEL", "TEICH_BASE_URL", "TEICH_API_KEY", "TEICH_PROVIDER", "OPENAI_API_KEY", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    monkeypatch.setenv("TRACEMILL_PROJECT", "")


def tracemill(*words: str) -> str:
    found = CliRunner().invoke(app, ["generate", *words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return " ".join(found.output.split())


@pytest.fixture
def config(tmp_path: Path):
    def written(text: str) -> Path:
        (tmp_path / "config.yaml").write_text(text)
        (tmp_path / "tasks.csv").write_text("prompt,category\nSay a.,x\nSay b.,y\n")
        return tmp_path / "config.yaml"

    return written


def test_teichs_config_is_run_and_resumed_and_run_anew(config):
    with ScriptedModel(lambda request: Reply(text="Said.", tokens=10)) as served:
        path = config(CONFIG % served.url)
        told = tracemill("-c", str(path))
        assert "tasks: 2 complete; 20 + " in told
        assert served.headers[0]["authorization"] == "Bearer sk-in-the-file"
        assert served.requests[0]["reasoning_effort"] == "low"
        rows = [json.loads(line) for line in (path.parent / "output/chat.jsonl").read_text().splitlines()]
        assert [row["response"] for row in rows] == ["Said.", "Said."]
        tracemill("-c", str(path), "--resume")
        assert len(served.requests) == 2, "what is finished is never paid for twice"
        (path.parent / "tasks.csv").open("a").write("Say c.,z\n")
        tracemill("-c", str(path), "--resume")
        assert len(served.requests) == 3
        tracemill("-c", str(path), "--anew")
        assert len(served.requests) == 6


def test_the_prompts_file_that_is_named_is_run_whatever_lies_beside_it(config):
    """teich reads a file of any other suffix line by line."""
    with ScriptedModel(lambda request: Reply(text="Said.")) as served:
        path = config((CONFIG % served.url).replace("tasks.csv", "my tasks.md"))
        (path.parent / "my tasks.md").write_text("# words\nSay c.\n")
        (path.parent / "my tasks.jsonl").write_text('{"prompt": "Say d."}\n')
        assert "my-tasks: 1 complete" in tracemill("-c", str(path))
        assert [one["messages"][-1]["content"] for one in served.requests] == ["Say c."]
        path.write_text(path.read_text().replace("my tasks.md", "my tasks.jsonl"))
        tracemill("-c", str(path))
        assert served.requests[-1]["messages"][-1]["content"] == "Say d."
    path.write_text(path.read_text().replace("my tasks.jsonl", "none.jsonl"))
    with pytest.raises(SettingsError, match=r"prompts_file: .*none\.jsonl: No such file"):
        CliRunner().invoke(app, ["generate", "-c", str(path)], catch_exceptions=False)


def test_claude_code_is_asked_of_anthropic_unless_the_config_says_otherwise(config):
    plain = "agent: {provider: %s}\nmodel: {model: m}\nprompts: [a]\napi: {%s}\n"
    own = Config.from_yaml(config(plain % ("claude", "")), environment={})
    asked = own.collection()
    assert (asked.agent, asked.endpoint.api, asked.endpoint.base_url) == (
        "claude-code",
        "messages",
        "https://api.anthropic.com/v1",
    )
    assert own.key({"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}) == ("ANTHROPIC_API_KEY", None)
    other = Config.from_yaml(config(plain % ("claude-code", "provider: openrouter")), environment={}).collection()
    assert (other.endpoint.api, other.endpoint.base_url) == ("messages", "https://openrouter.ai/api/v1")


def test_a_config_says_where_its_dataset_goes_and_with_whose_rights(config, monkeypatch):
    for name in TOKENS:
        monkeypatch.delenv(name, raising=False)
    path = config(CONFIG % "http://here/v1")
    project, _ = Config.from_yaml(path).project()
    publish = project.settings.publish
    assert (publish.to, publish.repo, publish.private) == ("hub", "me/mine", False)
    assert token_of(publish) is None
    monkeypatch.setenv("TEICH_HF_TOKEN", "hf_environment")
    assert token_of(publish) == "hf_environment"
    path.write_text(path.read_text().replace("private: false", "hf_token: hf_file"))
    project, _ = Config.from_yaml(path).project()
    assert token_of(project.settings.publish) == "hf_file"


def test_progress_tells_all_of_it_however_narrow_the_terminal():
    shown = Console(width=70, file=StringIO(), force_terminal=True)
    with progress_on(shown) as progress:
        watched = Watched(progress, "fixes", 3)
        prompts = [Prompt(id=f"p-{n}", prompt="a", agent="chat") for n in range(3)]
        for prompt in prompts:
            watched(prompt, None)
        usage = Usage(input=1_234_567, output=89_000)
        watched(prompts[0], trace(prompts[0], status="complete", usage=usage, cost_usd=12.5))
        watched(prompts[1], Reject(id="p-1", stage="traces", reason="budget", detail=""))
        shown.print(progress.get_renderable())
    told = shown.file.getvalue()
    words = ("fixes", "2/3", "1 running", "1 failed", "1,234,567 +", "89,000 tokens", "$12.5000", "left")
    assert all(word in " ".join(told.split()) for word in words), told
    assert "…" not in told


def trace(prompt: Prompt, **fields) -> Trace:
    return Trace(id="t", prompt_id=prompt.id, prompt="a", agent="chat", format="chat", files=(), **fields)


def test_a_project_is_generated_from_its_own_settings(tmp_path, monkeypatch):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/fixes.txt").write_text("Say a.\nSay b.\n")
    settings = (
        "targets: {x: {model: example}}\ncollect: {agent: chat, model: mine, endpoint: {base_url: '%s', key: MINE}}\n"
    )
    monkeypatch.setenv("MINE", "sk-mine")
    with ScriptedModel(lambda request: Reply(text="Said.")) as served:
        (tmp_path / "tracemill.yaml").write_text(settings % served.url)
        told = tracemill("-p", str(tmp_path))
    assert "fixes: 2 complete" in told
    assert "price not known" in told
    project = load_project(tmp_path)
    assert [trace.status for trace in Store(project.data).read("traces", "fixes", Trace)] == ["complete"] * 2
    assert list(Store(project.data).journal("traces", "fixes").names()) == [], "the partition has it all"


def test_a_wrong_key_is_told_in_one_line(config):
    with ScriptedModel(lambda request: Reply(status=401)) as served:
        path = config(CONFIG % served.url)
        with pytest.raises(PipelineError, match="TEICH_API_KEY is not accepted; set it"):
            CliRunner().invoke(app, ["generate", "-c", str(path)], catch_exceptions=False)


def test_a_command_that_leaves_no_trace_fails(config):
    with ScriptedModel(lambda request: Reply(status=400)) as served:
        path = config(CONFIG % served.url)
        found = CliRunner().invoke(app, ["generate", "-c", str(path)], catch_exceptions=False)
    assert (found.exit_code, "no traces" in found.output, "scripted" in found.output) == (1, True, True)


def test_the_environment_wins_over_the_file(config, monkeypatch):
    path = config(CONFIG % "http://file/v1")
    told = {"TEICH_MODEL": "gemma-4", "TEICH_BASE_URL": "http://here/v1", "TEICH_PROVIDER": "LMstudio"}
    found = Config.from_yaml(path, environment=told).collection()
    assert (found.model, found.endpoint.base_url, found.endpoint.provider) == ("gemma-4", "http://here/v1", None)
    plain = "agent: {provider: pi}\nprompts: [a]\napi: {provider: %s, api_key: %s}\n"
    assert Config.from_yaml(config(plain % ("openai", "none"))).key({"OPENAI_API_KEY": "k"}) == ("OPENAI_API_KEY", None)
    router = Config.from_yaml(config(plain % ("openrouter", "null")))
    assert router.key({"OPENROUTER_API_KEY": "k", "OPENAI_API_KEY": "k"}) == ("OPENROUTER_API_KEY", None)
    endpoint = router.collection().endpoint
    assert (endpoint.base_url, endpoint.api, endpoint.provider) == (
        "https://openrouter.ai/api/v1",
        "chat",
        "openrouter",
    )
    assert router.key({"TEICH_API_KEY": "k"}) == ("TEICH_API_KEY", None)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("prompts: [a]\nmcp_servers: [{name: x}]", "mcp_servers"),
        ("prompts: [a]\nagent: {provider: hermes}", r"agent\.provider"),
        ("prompts: [a]\nmodel: {temperature: 1}", r"model\.temperature"),
        ("prompts: [a]\nmax_concurrency: 0", "max_concurrency"),
        ("prompts: []", "prompts, prompts_file: set one"),
        ("prompts: [a]\nprompts_file: tasks.csv", "prompts, prompts_file: set one"),
        ("prompts: [a]\npublish: {repo_id: no/such/thing}", "publish.repo_id: .*write owner/name"),
        ("[", "no YAML"),
        ("- a", "no YAML"),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(config, text, where):
    with pytest.raises(SettingsError, match=where):
        Config.from_yaml(config(text))


def test_the_documents_settings_prompts_and_rows_are_read(shared, config, tmp_path: Path):
    text = (shared / "seeds" / "teich.md").read_text(encoding="utf-8")

    def blocks(language: str, beginning: str = "") -> list[str]:
        return re.findall(rf"^```{language}\n({beginning}.*?)^```", text, re.MULTILINE | re.DOTALL)

    (prompts,), (row,), (chat, codex), (exports,) = map(
        blocks, ("jsonl", "json", "yaml", "bash"), ("", "", "", "export T")
    )
    (tmp_path / "prompts.jsonl").write_text(prompts)
    for block, agent in ((f"{chat}prompts_file: prompts.jsonl", "chat"), (codex, "codex")):
        found = Config.from_yaml(config(block), environment={})
        assert (found.collection().agent, found.collection().endpoint.api) == (agent, "responses")
        project, batch = found.project()
        read = list(read_batch(project.batch_file(batch)))
        assert [getattr(one, "github_repo", one) for one in read] == [None, "armand0e/perplexica-mcp", None]
    told = dict(re.findall(r"^export (\w+)=(.*)$", exports, re.MULTILINE))
    found = Config.from_yaml(config(codex), environment=told)
    assert (found.collection().endpoint.base_url, found.collection().model) == ("http://localhost:1234/v1", "gemma-4")
    (tmp_path / "row.jsonl").write_text(row)
    (loaded,) = load_traces(tmp_path / "row.jsonl")
    assert [message["role"] for message in loaded["messages"]] == ["system", "user", "assistant"]
    assert loaded["messages"][2]["reasoning_content"] == "I should greet the user."
