"""The card: a function of what was published and of the settings."""

import pytest
from huggingface_hub import DatasetCard

from pipeline.publishing.card import card
from pipeline.records import Shard
from pipeline.targets import Publication


@pytest.mark.parametrize(("form", "agents"), [("codex", True), ("pi", True), ("chat", False), ("messages", False)])
def test_the_tags_of_agents_are_those_of_agents_alone(form: str, agents: bool):
    base = {"batch": "b", "rows": {"train": 1}, "root": "r", "files": {}}
    told = Shard(id="conversations/b", config="conversations", measured={f"format {form}": 1, "model o/gpt": 1}, **base)
    with_sessions = card([told, Shard(id="traces/b", config="traces", **base)], Publication(repo="me/set", tags=("x",)))
    tags = set(DatasetCard(with_sessions).data.tags)
    assert {"distillation", "conversational", "gpt", "x", form} <= tags
    assert tags & {"agent-traces", "format:agent-traces"} == (
        {"agent-traces", "format:agent-traces"} if agents else set()
    )
    assert "format:agent-traces" not in DatasetCard(card([told], Publication(repo="me/set"))).data.tags


def test_a_card_loads_a_split_that_there_is_and_keeps_its_tables_whole():
    measured = {"format pi": 1, "model a|b\nc": 1}
    base = {"batch": "b", "rows": {"test": 1}, "root": "r", "files": {}}
    target = {"model": "m", "revision": None, "policy": "p", "history": "last", "max_length": None, "renderer": "auto"}
    shards = [
        Shard(id="conversations/b", config="conversations", measured=measured, **base),
        Shard(id="qwen3/b", config="qwen3", target=target, summary={"proved_turns": 1, "trained_turns": 1}, **base),
    ]
    told = card(shards, Publication(repo="me/set"))
    assert 'load_dataset("me/set", "qwen3", split="test")' in told
    assert "| a\\|b c | model | 1 |" in told
