"""What trainers may ask for, and what is refused: by its name, with the cure, before anything is read."""

import re
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, IterableDataset

from assets_tests.pipeline.test_training import chat
from pipeline.errors import PipelineError, SettingsError
from pipeline.targets import EXAMPLE
from pipeline.training import Config, load_traces, mask_data, prepare_data, preview_sft_example
from renderers import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_json((EXAMPLE / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"), name="example")


NO_COUNTS = (0, -1, 1.5, "10", True, float("nan"))
NO_SHARES = (0, -1, "20", True, float("nan"), float("inf"), [1])


@pytest.mark.parametrize("many", NO_COUNTS)
def test_what_is_no_count_is_refused_by_name(tokenizer, many):
    data = Dataset.from_list([chat(1)])
    given = {"max_examples": many, "max_length": many}
    for name, value in given.items():
        with pytest.raises(SettingsError, match=f"^{name}={re.escape(repr(value))}: takes a whole number from 1 on"):
            prepare_data(data, tokenizer, renderer="qwen3", **{name: value})
    with pytest.raises(SettingsError, match=r"^source a: max_examples="):
        prepare_data({"a": {"source": data, "max_examples": many}}, tokenizer, renderer="qwen3")
    with pytest.raises(SettingsError, match=r"^max_examples="):
        load_traces(data, max_examples=many)
    with pytest.raises(SettingsError, match=r"^max_supervised_tokens="):
        mask_data(prepare_data(data, tokenizer, renderer="qwen3", tokenize=True), max_supervised_tokens=many)


@pytest.mark.parametrize("share", NO_SHARES)
@pytest.mark.parametrize("kind", ["percentage", "proportion", "weight"])
def test_what_is_no_share_is_refused_before_anything_is_read(tokenizer, kind: str, share):
    told = {"a": {"source": "nowhere", kind: share}, "b": {"source": "nowhere", kind: 0.5}}
    with pytest.raises(SettingsError, match=f"^source a: {kind}: .* is no share; give a number above 0"):
        prepare_data(told, tokenizer, renderer="qwen3")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ([], "no source is named"),
        ({"max_examples": 3}, "no source is named"),
        ("", "str '' is no source"),
        (None, "NoneType None is no source"),
        ([chat(1)], r"dict .* is no source: .*Dataset\.from_list"),
        ({"a": ["x", "y"]}, "list .* is no source"),
        (IterableDataset.from_generator(lambda: iter([chat(1)])), "(?s)IterableDataset .* is no source"),
        ({"a": {"source": "x", "percentage": 70}, "b": {"source": "x", "percentage": 70}}, "add up to 140 of 100: low"),
        ({"a": {"source": "x", "percentage": 100}, "b": "x"}, "add up to 100 of 100: leave something to b"),
        ({"a": {"source": "x", "percentage": 10}, "b": {"source": "x", "weight": 1}}, "in percentage and weight"),
    ],
)
def test_what_is_no_source_is_refused_with_the_cure(tokenizer, source, why: str):
    with pytest.raises(SettingsError, match=why):
        prepare_data(source, tokenizer, renderer="qwen3")


def test_a_word_that_is_no_history_is_refused_and_nothing_left_is_an_error(tokenizer):
    with pytest.raises(SettingsError, match="history='all': takes last, split, keep, trust"):
        prepare_data(Dataset.from_list([chat(1)]), tokenizer, renderer="qwen3", history="all")
    with pytest.warns(UserWarning, match="no_messages"), pytest.raises(PipelineError, match="no conversation is left"):
        load_traces(Dataset.from_list([{"text": "x"}]))


def test_splits_of_a_data_set_are_masked_each_with_a_preview(tokenizer):
    data = prepare_data(Dataset.from_list([chat(n) for n in range(10)]), tokenizer, renderer="qwen3", tokenize=True)
    halves = mask_data(data.train_test_split(0.3), tokenizer=tokenizer)
    assert isinstance(halves, DatasetDict)
    assert {name: half.num_rows for name, half in halves.items()} == {"train": 7, "test": 3}
    assert "Hi" in halves["test"].preview(2)
    assert set(halves["test"].column_names) == {"input_ids", "labels"}
    with pytest.raises(SettingsError, match="list is no trainer"):
        mask_data([data])
    with pytest.raises(SettingsError, match="call mask_data first"):
        preview_sft_example(data, tokenizer)


def test_a_config_of_teich_is_loaded_by_the_name_of_the_document(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("agent: {provider: chat}\nprompts: [Say a.]\n")
    assert Config.from_yaml(tmp_path / "config.yaml").agent.provider == "chat"
