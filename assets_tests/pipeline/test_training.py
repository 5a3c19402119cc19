"""Data sets for trainers: read, rendered, masked, mixed."""

import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import numpy as np
import pytest
from datasets import Dataset, IterableDataset

from pipeline.converting import convert
from pipeline.errors import PipelineError, SettingsError
from pipeline.fitting import FITS
from pipeline.gathering import read
from pipeline.masking import mask
from pipeline.records import Reject, Trace, TraceFile
from pipeline.rendering import render
from pipeline.targets import EXAMPLE, Target
from pipeline.training import IDS, SPANS, load_traces, mask_data, prepare_data, preview_sft_example
from renderers import Tokenizer, create_renderer

T = TypeVar("T")
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"x": 1, "y": None}}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
AGENT = {
    "tools": [TOOL],
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "", "thinking": "A sum.", "tool_calls": [CALL]},
        {"role": "tool", "content": "2", "tool_call_id": "1"},
        {"role": "assistant", "content": "2.", "thinking": "Done."},
    ],
}


def chat(number: int | str, answer: str = "Hi") -> dict:
    return {"messages": [{"role": "user", "content": f"Q{number}"}, {"role": "assistant", "content": answer}]}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_json((EXAMPLE / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"), name="example")


@pytest.fixture
def written(tmp_path):
    """Rows as a JSONL file in a folder of their own."""

    def write(*rows: dict | str, name: str = "rows") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return folder

    return write


def learned(data: Dataset, tokenizer: Tokenizer) -> list[str]:
    rows = [(np.asarray(row["input_ids"]), np.asarray(row["labels"])) for row in map(dict, data)]
    assert all(np.array_equal(ids[labels != -100], labels[labels != -100]) for ids, labels in rows)
    return [tokenizer.decode(labels[labels != -100]) for _, labels in rows]


WRITTEN = (
    '<think>\nA sum.\n</think>\n\n<tool_call>\n{"name": "add", "arguments": {"x": 1, "y": null}}\n</tool_call>'
    "<|im_end|>"
    "<think>\nDone.\n</think>\n\n2.<|im_end|>"
)


def test_rows_are_rendered_and_masked_through_the_stop(tokenizer, written):
    data = prepare_data(written(AGENT), tokenizer, renderer="qwen3", tokenize=True)
    assert data[0]["text"] == tokenizer.decode(data[0]["input_ids"])
    assert data[0]["attention_mask"] == [1] * len(data[0]["input_ids"])
    labelled = mask_data(data)
    assert labelled.column_names == ["input_ids", "labels"]
    assert learned(labelled, tokenizer) == [WRITTEN]
    shown = preview_sft_example(labelled, tokenizer)
    assert mask_data(data, tokenizer=tokenizer).preview() == shown
    runs = re.findall(r"\x1b\[1;4;\d+m(.*?)\x1b\[0m", shown)
    assert "".join(runs) == WRITTEN.replace("\n", "⏎")


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"train_on_reasoning": False, "train_on_tools": False}, "<|im_end|>2.<|im_end|>"),
        (
            {"train_on_final_answers": False, "train_on_tools": False},
            "<think>\nA sum.\n</think>\n\n<think>\nDone.\n</think>\n\n",
        ),
        ({"train_on_user": True, "train_on_system": True, "train_on_tool_responses": True}, "S1 + 1?2"),
    ],
)
def test_every_kind_can_be_learned_or_not(tokenizer, written, asked, text):
    (found,) = learned(
        mask_data(prepare_data(written(AGENT), tokenizer, renderer="qwen3", tokenize=True), **asked), tokenizer
    )
    told = [piece for piece in ("S", "1 + 1?", "2") if asked.get("train_on_user")]
    assert found == text if not told else sorted(found) == sorted(WRITTEN + text)


def test_sessions_of_an_agent_get_the_labels_of_the_pipeline(tokenizer):
    folder = EXAMPLE / "prompts" / "sessions" / "pi_tasks"
    with pytest.warns(UserWarning, match="1 rows left: 1 invalid_json, the first damaged: damaged.jsonl:7"):
        data = prepare_data(folder, tokenizer, format="pi", renderer="qwen3", tokenize=True)
    with pytest.warns(UserWarning, match="1 rows left: 1 no_target, the first length_stop-0: nothing of"):
        labelled = mask_data(data)

    def session(file: Path) -> Trace:
        files = (TraceFile(file.name, file.read_bytes()),)
        return Trace(id=file.stem, prompt_id="", prompt="", agent="replay", format="pi", files=files)

    told = kept(convert(map(session, sorted(folder.rglob("*.jsonl")))))
    rendered = kept(render(told, create_renderer(tokenizer, "qwen3")))
    rows = list(kept(mask(rendered, Target(model="example"))))
    assert len(rows) > 10
    assert labelled["labels"] == [row.labels.tolist() for row in rows]
    assert labelled["input_ids"] == [row.input_ids.tolist() for row in rows]


@pytest.mark.parametrize("over_length", FITS)
def test_long_rows_are_fitted_as_in_the_pipeline(over_length, tokenizer, written):
    turns = [message for n in range(6) for message in chat(n, "word " * (5 + 200 * (n == 4)))["messages"]]
    folder, limit = written({"messages": [{"role": "system", "content": "S"}, *turns]}), 150
    asked = {"renderer": "llama-3", "today": date(2025, 7, 1)}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        data = prepare_data(folder, tokenizer, **asked, tokenize=True, max_length=limit, over_length=over_length)
    made = list(render(kept(read(folder)), create_renderer(tokenizer, **asked)))
    masked = list(mask(kept(made), Target(model="example", max_length=limit, over_length=over_length)))
    rows = list(kept(masked))
    assert rows
    assert max(len(row.input_ids) for row in rows) <= limit < len(made[0].input_ids)
    assert [*map(len, mask_data(data)["input_ids"])] == [len(row.input_ids) for row in rows]
    assert mask_data(data)["labels"] == [row.labels.tolist() for row in rows]
    assert data["id"] == [row.id for row in rows]
    left = [row.detail for row in masked if isinstance(row, Reject)]
    assert len(warned) == len(left) == (over_length == "split_turns" and 1)
    assert all(detail in str(warning.message) for detail, warning in zip(left, warned, strict=True))


def kept(rows: Iterable[T | Reject]) -> Iterator[T]:
    return (row for row in rows if not isinstance(row, Reject))


def test_traces_are_loaded_as_they_are_told(written):
    folder = written(
        AGENT,
        json.dumps(chat(1, "a\u2028b"), ensure_ascii=False),
        "{broken",
        {"prompt": "x"},
        {"messages": [{"role": "robot"}]},
    )
    with pytest.warns(
        UserWarning,
        match=r"3 rows left: 1 invalid_json, the first rows\.jsonl:3: .*1 no_messages, the first rows\.jsonl:4",
    ):
        data = load_traces(folder)
    assert data["id"] == ["rows.jsonl:1", "rows.jsonl:2"]
    assert data["prompt"] == ["1 + 1?", "Q1"]
    assert data[0]["tools"] == [TOOL]
    assert data[0]["messages"][2]["tool_calls"] == [CALL]
    verbatim = load_traces(written(AGENT, name="verbatim"), parse_arguments=False)
    assert verbatim[0]["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"x": 1, "y": null}'
    assert data[0]["messages"][2]["reasoning_content"] == "A sum."
    assert load_traces(written(*map(chat, range(9)), name="nine"), max_examples=4).num_rows == 4


def test_nulls_that_only_pad_a_column_are_no_arguments():
    other = {"id": "2", "type": "function", "function": {"name": "ls", "arguments": {"path": "."}}}
    calls = [{**CALL, "function": {"name": "add", "arguments": {"x": 1}}}, other]
    rows = [
        {"messages": [chat(n)["messages"][0], {"role": "assistant", "content": "", "tool_calls": [c]}]}
        for n, c in enumerate(calls)
    ]
    loaded = load_traces(Dataset.from_list(rows))
    told = [row["messages"][1]["tool_calls"][0]["function"]["arguments"] for row in map(dict, loaded)]
    assert told == [{"x": 1}, {"path": "."}]


def test_rows_that_cannot_be_used_leave_with_a_reason(tokenizer, written):
    folder = written(chat(1), chat(2, "long " * 400), {"messages": chat(3)["messages"][:1]})
    with pytest.warns(UserWarning, match=r"too_long, the first rows\.jsonl:2: \d+ tokens, max_length is 100"):
        data = prepare_data(folder, tokenizer, renderer="qwen3", max_length=100)
    assert data["id"] == ["rows.jsonl:1"]
    with pytest.raises(PipelineError, match=r"rows\.jsonl:1: too_long"):
        prepare_data(
            written(chat(2, "long " * 400), name="long"),
            tokenizer,
            renderer="qwen3",
            max_length=100,
            drop_oversized_examples=False,
        )
    with pytest.raises(SettingsError, match="over_length='cut': takes drop, error, trim_followups"):
        prepare_data(folder, tokenizer, renderer="qwen3", max_length=100, over_length="cut")
    with pytest.raises(PipelineError, match=r"rows\.jsonl:2: too_long"):
        prepare_data(folder, tokenizer, renderer="qwen3", max_length=100, over_length="error")
    with pytest.raises(PipelineError, match=r"rows\.jsonl:1: no_completion"):
        prepare_data(
            written({"messages": chat(3)["messages"][:1]}, name="open"), tokenizer, renderer="qwen3", strict=True
        )
    with (
        pytest.warns(UserWarning, match="no_completion"),
        pytest.raises(PipelineError, match="source: no row of it is left"),
    ):
        prepare_data(written({"messages": chat(3)["messages"][:1]}, name="none"), tokenizer, renderer="qwen3")


def trainer(data: Dataset, **settings) -> SimpleNamespace:
    """What a trainer has once it has made ids, or has kept those that it was given."""
    return SimpleNamespace(train_dataset=data, eval_dataset=None, args=SimpleNamespace(**settings))


def test_a_trainer_that_makes_the_ids_itself_must_make_the_same(tokenizer, written):
    data = prepare_data(written(AGENT, chat("<|im_end|>")), tokenizer, renderer="qwen3")
    assert set(data.column_names) == {"id", "conversation_id", "text", SPANS, IDS}
    own = data.map(lambda row: {"input_ids": tokenizer.encode_batch([row["text"]], added=True)[0][:-3]})
    with pytest.warns(
        UserWarning, match=r"1 rows left: 1 other_ids, the first rows\.jsonl:2"
    ):  # data spells a control token
        told = mask_data(trainer(own, packing=False, max_length=4096))
    (text,) = learned(told.train_dataset, tokenizer)
    assert text == WRITTEN.removesuffix(".<|im_end|>")


def test_what_cannot_be_masked_is_refused_with_the_cure(tokenizer, written):
    data = prepare_data(written(AGENT), tokenizer, renderer="qwen3", tokenize=True)
    with pytest.raises(SettingsError, match="set packing=False"):
        mask_data(trainer(data, packing=True))
    with pytest.raises(SettingsError, match=r"prepare_data\(…, tokenize=True\)"):
        mask_data(
            prepare_data(written(AGENT, name="plain"), tokenizer, renderer="qwen3", teich_masking=False, tokenize=True)
        )
    with pytest.raises(SettingsError, match=r"prepare_data\(…, tokenize=True\)"):
        mask_data(trainer(IterableDataset.from_generator(lambda: iter([chat(1)]))))
    with (
        pytest.warns(UserWarning, match=r"too_long, .* tokens are learned, 3 may be"),
        pytest.raises(PipelineError, match="no row is left"),
    ):
        mask_data(data, max_supervised_tokens=3)


def test_a_mixture_keeps_its_shares_whatever_a_source_cannot_fill(tokenizer, written):
    few, many = written(*map(chat, range(4)), name="few"), written(*(chat(n, "more") for n in range(50)), name="many")
    told = {"few": {"source": few, "percentage": 20}, "many": {"source": str(many), "percentage": 80}}
    data = prepare_data(told, tokenizer, renderer="qwen3")
    assert sorted("more" in text for text in data["text"]) == [False] * 4 + [True] * 16
    assert data["text"] == prepare_data(told, tokenizer, renderer="qwen3")["text"]
    assert "few: 4 rows, " in data.info.description
    assert ": 20.00% of rows, 20.00% asked\nmany: 16 rows, " in data.info.description
    assert prepare_data({"max_examples": 10, **told}, tokenizer, renderer="qwen3").num_rows == 10
    assert prepare_data([few, many], tokenizer, renderer="qwen3").num_rows == 54
    with pytest.raises(SettingsError, match="source few: no setting 'percent'"):
        prepare_data({"few": {"source": few, "percent": 3}}, tokenizer, renderer="qwen3")


def test_shares_may_be_of_tokens(tokenizer, written):
    long = written(*(chat(n, "long " * 40) for n in range(20)), name="long")
    short = written(*map(chat, range(90)), name="short")
    told = {"long": {"source": long, "percentage": 50}, "short": {"source": short, "percentage": 50}}
    data = prepare_data(told, tokenizer, renderer="qwen3", tokenize=True, by="tokens")
    tokens = Counter()
    for row in data:
        tokens["long" in row["text"]] += len(row["input_ids"])
    assert tokens[True] == pytest.approx(tokens[False], rel=0.1)
    assert re.search(
        r"long: \d+ rows, [\d,]+ tokens: (49|50|51)\.\d\d% of tokens, 50\.00% asked", data.info.description
    )
    for asked in ({"by": "tokens", "max_examples": 5}, {"by": "words"}):
        with pytest.raises(SettingsError, match=r"max_examples of all sources counts rows|by='words'"):
            prepare_data(told, tokenizer, renderer="qwen3", **asked)


def test_a_share_that_is_too_small_for_a_row_is_warned_of(tokenizer, written):
    long, short = written(chat(1, "long " * 400), name="long"), written(*map(chat, range(9)), name="short")
    told = {"long": {"source": long, "percentage": 5}, "short": {"source": short, "percentage": 95}}
    with pytest.warns(UserWarning, match=r"source long: 5\.00% of tokens was asked, .* none of its 1 rows") as warned:
        data = prepare_data(told, tokenizer, renderer="qwen3", by="tokens")
    assert warned[0].filename == __file__
    assert not any("long" in text for text in data["text"])


def test_rows_that_leave_are_warned_of_by_the_line_of_who_asked(tokenizer, written):
    silent = {"messages": [{"role": "user", "content": "a"}]}
    place, found = written(chat(1), chat(2, "long " * 40), silent), []
    with pytest.warns(UserWarning, match="1 rows left: 1 no_") as told:
        data = prepare_data(place, tokenizer, renderer="qwen3", tokenize=True)
    found += told
    with pytest.warns(UserWarning, match="1 rows left: 1 too_long") as told:
        mask_data(data, max_supervised_tokens=30)
    found += told
    with pytest.warns(UserWarning, match="1 rows left: 1 no_") as told:
        load_traces(place)
    assert {one.filename for one in (*found, *told)} == {__file__}


TOLD = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TOLD += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def test_a_template_that_is_only_traced_is_warned_of_by_the_line_of_who_asked(written):
    spelled = (EXAMPLE / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8")
    own = Tokenizer.from_json(spelled, chat_template=TOLD)
    with pytest.warns(UserWarning, match="no family tells the chat template") as warned:
        prepare_data(written(chat(1)), own)
    with pytest.warns(UserWarning, match="no family tells the chat template") as direct:
        create_renderer(own)
    assert [one.filename for one in (*warned, *direct)] == [__file__] * 2
