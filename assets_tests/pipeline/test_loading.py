"""A target's renderer and tokenizer are had, or one is told how to get them."""

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from pydantic import ValidationError

from pipeline.errors import SettingsError, TokenizerUnavailable
from pipeline.loading import load_renderer, load_tokenizer
from pipeline.targets import EXAMPLE, Target
from renderers.errors import UnknownFlag
from renderers.messages import Message, Request

EXAMPLE_TARGET = Target(model="example")
SHA = "0123456789abcdef0123456789abcdef01234567"


def test_a_history_that_the_family_cannot_keep_is_refused_when_it_is_loaded():
    with pytest.raises(UnknownFlag, match="no flag keeps reasoning in history"):
        load_renderer(Target(model="example", renderer="qwen2.5", history="keep"))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"train_on": ["scaffold"]}, "nobody's words"),
        ({"train_on": ["answers"]}, "Input should be"),
        ({"train_on": ["user", "assistant"], "history": "split"}, "once a row"),
        ({"history": "all"}, "Input should be"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(settings: dict, why: str):
    with pytest.raises(ValidationError, match=why):
        Target(model="example", **settings)


def test_flags_of_the_target_reach_the_template():
    request = Request((Message("user", "Hi"),), generating=True)
    thinking, not_thinking = (
        Target(model="example", renderer="qwen3", flags={"enable_thinking": flag}) for flag in (True, False)
    )
    assert load_renderer(thinking).stream(request).text != load_renderer(not_thinking).stream(request).text


def test_a_tokenizer_is_found_in_a_folder_of_the_project(tmp_path: Path):
    shutil.copytree(EXAMPLE / "tokenizer", tmp_path / "mine")
    found = load_tokenizer(Target(model="mine"), folder=tmp_path)
    assert found.fingerprint == load_tokenizer(EXAMPLE_TARGET).fingerprint
    assert found.chat_template == (EXAMPLE / "tokenizer" / "chat_template.jinja").read_text()


def test_a_chat_template_may_be_json_as_it_was_on_the_hub(tmp_path: Path):
    shutil.copytree(EXAMPLE / "tokenizer", tmp_path / "mine")
    (tmp_path / "mine" / "chat_template.jinja").unlink()
    (tmp_path / "mine" / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert load_tokenizer(Target(model="mine"), folder=tmp_path).chat_template == "{{ messages }}"


def test_a_folder_without_a_tokenizer_says_what_it_lacks(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(TokenizerUnavailable, match=r"holds no tokenizer\.json"):
        load_tokenizer(Target(model="mine"), folder=tmp_path)


@pytest.mark.parametrize("revision", [None, "main", "v1.0", SHA[:12], SHA.upper()])
def test_a_hub_model_is_named_by_commit(revision: str | None):
    with pytest.raises(SettingsError, match=r"no folder owner/name.*40 hex digits"):
        load_tokenizer(Target(model="owner/name", revision=revision))


@pytest.mark.parametrize("offline", [True, False])
def test_a_tokenizer_that_cannot_be_had_says_how_to_get_it(
    offline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TokenizerUnavailable, match=f"go online, or `hf download owner/name --revision {SHA}`"):
        load_tokenizer(Target(model="owner/name", revision=SHA), offline=offline)


def test_a_tokenizer_that_was_fetched_before_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    shutil.copytree(EXAMPLE / "tokenizer", tmp_path / "models--owner--name" / "snapshots" / SHA)
    found = load_tokenizer(Target(model="owner/name", revision=SHA), offline=True)
    assert (found.name, found.chat_template is None) == (f"owner/name@{SHA}", False)


@pytest.mark.parametrize(
    ("error", "found"), [(EntryNotFoundError("404"), True), (LocalEntryNotFoundError("no network"), False)]
)
def test_a_template_that_did_not_arrive_is_not_taken_for_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, found: bool
):
    def download(repo: str, name: str, **_: object) -> str:
        if name == "chat_template.jinja":
            raise error
        return str(EXAMPLE / "tokenizer" / "tokenizer.json") if name == "tokenizer.json" else str(config)

    config = tmp_path / "config.json"
    config.write_text('{"chat_template": "{{ messages }}"}')
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    if found:
        assert load_tokenizer(Target(model="owner/name", revision=SHA)).chat_template == "{{ messages }}"
    else:
        with pytest.raises(TokenizerUnavailable, match="no network"):
            load_tokenizer(Target(model="owner/name", revision=SHA))
