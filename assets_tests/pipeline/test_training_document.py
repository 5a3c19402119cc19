"""The Python of the teich document, block by block: only the import root is changed."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import transformers
from datasets import Dataset

from assets_tests.pipeline.test_training import AGENT, chat
from pipeline.training import SPANS, load_traces


@pytest.fixture
def blocks(shared) -> list[str]:
    """The Python of the document, with only the import root changed."""
    text = (shared / "seeds" / "teich.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block.replace("from teich import", "from pipeline.training import") for block in found]


class Model:
    """A model that says what it was asked for."""

    pushed = ""

    def push_to_hub_merged(self, repo: str, tokenizer: object, **settings: object) -> None:
        self.pushed = repo


@pytest.fixture
def field(official, monkeypatch, tmp_path) -> transformers.PreTrainedTokenizerBase:
    """The libraries, data sets and files that the document is about, without the network and without a GPU."""
    hub = transformers.AutoTokenizer.from_pretrained(official("qwen3.6"))

    class SFTTrainer(SimpleNamespace):
        def train(self, resume_from_checkpoint: bool) -> SimpleNamespace:
            return SimpleNamespace(metrics={"train_runtime": 1.0})

    fast = SimpleNamespace(from_pretrained=lambda **_: (Model(), hub), get_peft_model=lambda model, **_: model)
    for name, things in {
        "unsloth": {"FastLanguageModel": fast},
        "trl": {"SFTConfig": SimpleNamespace, "SFTTrainer": SFTTrainer},
    }.items():
        module = ModuleType(name)
        vars(module).update(things)
        monkeypatch.setitem(sys.modules, name, module)
    rows = [AGENT if n % 2 else {**chat(n), "tools": []} for n in range(10)]
    monkeypatch.setattr("pipeline.sourcing.rows.load_dataset", lambda *_, **__: load_traces_of(rows, tmp_path))
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "chat.jsonl").write_text(json.dumps(AGENT), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return hub


def load_traces_of(rows: list[dict], folder: Path) -> Dataset:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return load_traces(path)


def test_every_python_block_of_the_document_runs(blocks, field):
    assert len(blocks) == 6
    told = {"tokenizer": field}
    alone, mixed, sft, several, manual, names = blocks
    exec(alone, told)
    assert told["train_dataset"].num_rows == 10
    assert {"text", "input_ids", "attention_mask", SPANS} <= set(told["train_dataset"].column_names)
    exec(mixed, told)
    assert told["train_dataset"].num_rows == 12
    exec(sft, told)
    assert told["trainer"].train_dataset.column_names == ["input_ids", "labels"]
    assert told["model"].pushed == "username/teich-sft-model"
    texts = [field.decode([t for t in labels if t != -100]) for labels in told["trainer"].train_dataset["labels"]]
    assert sum("<tool_call>" in text for text in texts) == 5
    assert all(text.endswith("<|im_end|>") and "<|im_start|>" not in text for text in texts)
    exec(several, told)
    assert told["train_dataset"].num_rows == 20
    exec(manual, told)
    assert told["rendered"].count("<|im_start|>assistant") == 2
    exec(names, told)
    assert all(
        told[name]
        for name in ("prepare_data", "mask_data", "load_traces", "preview_sft_example", "Config", "TrainingExample")
    )
