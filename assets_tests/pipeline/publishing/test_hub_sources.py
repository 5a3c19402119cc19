"""Rows and raw sessions of data sets on the Hub are read at the commit that was asked for."""

import json

import pytest
from huggingface_hub import HfApi

from assets_tests.pipeline.publishing.server import HubServer
from pipeline.blending import candidates
from pipeline.errors import PipelineError
from pipeline.mixing.mix import Candidate
from pipeline.mixtures import Mixture
from pipeline.resources.store import Store
from pipeline.targets import EXAMPLE, Project
from pipeline.training import load_traces

SESSION = EXAMPLE / "prompts/sessions/codex_tasks/one_command.jsonl"


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_right")


def said(*answers: str) -> bytes:
    """JSONL of conversations that end with these."""
    rows = [
        {"messages": [{"role": "user", "content": "And?"}, {"role": "assistant", "content": one}]} for one in answers
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def found(project: Project, store: Store, **source) -> list[Candidate]:
    mixture = Mixture.model_validate({"target": "qwen3", "sources": {"hub": {"repo": "me/chats", **source}}})
    (rows,) = candidates(project, mixture, store, salt=b"salt").values()
    assert all(isinstance(row, Candidate) for row in rows)
    return rows


def test_rows_of_the_hub_are_those_of_the_pinned_commit(api: HfApi, made: Project, store: Store):
    api.create_repo("me/chats", repo_type="dataset")
    for answers in (("One.", "Two."), ("Later.",)):
        api.upload_file(path_or_fileobj=said(*answers), path_in_repo="a.jsonl", repo_id="me/chats", repo_type="dataset")
    later, first, _ = (commit.commit_id for commit in api.list_repo_commits("me/chats", repo_type="dataset"))
    assert [row.conversation.messages[-1].content for row in found(made, store, revision=first)] == ["One.", "Two."]
    (row,) = found(made, store, revision=later)
    assert (row.conversation.messages[-1].content, row.conversation.id[:4]) == ("Later.", "hub/")
    assert row.row.labels.max() > 0


def test_a_dataset_of_ours_is_read_by_its_conversations_or_by_the_config_that_is_named(
    hub, publisher, put, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    put("pi_tasks", publisher())
    told = load_traces("me/set")
    assert told.num_rows == 14
    assert told["id"] == load_traces("me/set", config="conversations")["id"]
    with pytest.warns(UserWarning, match="no_messages"), pytest.raises(PipelineError, match="no conversation is left"):
        load_traces("me/set", config="qwen3")


def test_raw_sessions_of_the_hub_are_converted(api: HfApi, made: Project, store: Store):
    api.create_repo("me/chats", repo_type="dataset")
    where = {"path_in_repo": "sessions/one.jsonl", "repo_id": "me/chats", "repo_type": "dataset"}
    done = api.upload_file(path_or_fileobj=SESSION, **where)
    said = {row.conversation.id: row.conversation for row in found(made, store, revision=done.oid, format="codex")}
    (conversation,) = said.values()
    assert conversation.format == "codex"
    assert any(message.role == "tool" for message in conversation.messages)
