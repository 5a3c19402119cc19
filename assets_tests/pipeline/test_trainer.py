"""Our rows in a real trainer: TRL's SFTTrainer on a tiny random model, with the tokenizers of three families."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.records import Conversation, MaskedRow, Scrub, Trace
from pipeline.resources.store import Store
from pipeline.targets import SETTINGS, load_project
from renderers.hub import from_hub
from renderers.masking import IGNORED

ROOT = Path(__file__).parents[2]
FAMILIES = {"qwen3": "qwen3", "llama-3": "llama_3", "gpt-oss": "gpt_oss"}
"""Each with its target."""
ROWS = {"qwen3": 5, "llama-3": 3, "gpt-oss": 5}
"""Of four conversations: Llama 3 has no words for tools; the others tell one of them anew."""
OURS = ("transformers", "datasets", "tokenizers", "numpy", "pyarrow", "huggingface-hub")
BATCH = "codex_tasks"
CHATS = [
    [{"role": "user", "content": f"What is {n} + {n}?"}, {"role": "assistant", "content": f"It is {2 * n}."}]
    for n in range(1, 3)
]
TALK = [message for chat in CHATS for message in chat]
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
AGENT = [
    {"role": "user", "content": "Add."},
    {"role": "assistant", "content": "", "reasoning_content": "A sum.", "tool_calls": [CALL]},
    {"role": "tool", "content": "2", "tool_call_id": "1", "name": "add"},
    {"role": "assistant", "content": "2."},
]


@pytest.fixture(scope="module")
def trainer_python(environment) -> Path:
    """Torch and TRL, with our versions of what we share; our own packages are lent to it."""
    return environment("torch==2.13.0", "trl==1.16.0", *(f"{name}=={version(name)}" for name in OURS))


@pytest.fixture(scope="module")
def project(made_once, official, materialize, tmp_path_factory):
    """A small batch, published for each family with its official vocabulary."""
    folder = tmp_path_factory.mktemp("trainer") / "project"
    anew = shutil.ignore_patterns("dataset", "rendered", "masked", "audits", "publication")
    shutil.copytree(made_once, folder, ignore=anew)
    targets = {
        name: {"model": str(official(family)), "renderer": family, "history": "split"}
        for family, name in FAMILIES.items()
    }
    (folder / SETTINGS).write_text(yaml.safe_dump({"targets": targets}), encoding="utf-8")
    made = load_project(folder)
    store = Store(made.data)
    trace = next(store.read("traces", BATCH, Trace))
    told = [conversation(messages, trace) for messages in (*CHATS, TALK, AGENT)]
    store.write("conversations", BATCH, told, code_version="small")
    assets = [f"{stage}/{name}" for name in targets for stage in ("rendered", "masked", "audits")]
    assert materialize(made, BATCH, job="rerender", assets=[*assets, "publication"]).success
    return made


def conversation(messages: list[dict], trace: Trace) -> Conversation:
    told = from_hub(messages)
    return Conversation(
        id=f"c{len(told)}-{told[0].content}",
        trace_id=trace.id,
        prompt_id=trace.prompt_id,
        window=0,
        messages=told,
        tools=(TOOL,) if any(m.tool_calls for m in told) else (),
        tools_recorded=True,
        format="messages",
        date=date(2025, 7, 1),
        scrub=Scrub(done="replaced"),
    )


@pytest.fixture(scope="module")
def found(trainer_python, official, shared, project, tmp_path_factory) -> dict[str, Any]:
    """What the trainer made of everything: one process, because to load torch takes longer than to train."""
    work = tmp_path_factory.mktemp("run")
    lines = (json.dumps({"messages": messages}) for messages in (*CHATS, TALK))
    (work / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    text = (shared / "seeds" / "teich.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "SFTTrainer(" in b)
    task = {
        "families": {f: {"tokenizer": str(official(f)), "target": target} for f, target in FAMILIES.items()},
        "dataset": str(project.folder / "dataset"),
        "rows": str(work / "rows.jsonl"),
        "block": block.replace("from teich import", "from pipeline.training import"),
    }
    (work / "task.json").write_text(json.dumps(task))
    lent = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    ask = [trainer_python, Path(__file__).with_name("training_run.py"), work / "task.json", work / "found.json"]
    own = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": lent}
    done = subprocess.run(ask, env={**os.environ, **own}, cwd=work, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((work / "found.json").read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_published_rows_pass_through_the_trainer_bit_for_bit(found, project, family):
    stored = Store(project.data).read(f"masked/{FAMILIES[family]}", BATCH, MaskedRow)
    rows = [{"input_ids": row.input_ids.tolist(), "labels": row.labels.tolist()} for row in stored]
    assert len(rows) == ROWS[family]
    made = found[family]["published"]
    assert rows == found[family]["published_rows"] == made["kept"] == made["batches"]


@pytest.mark.parametrize("family", FAMILIES)
def test_prepared_rows_pass_through_the_trainer_bit_for_bit(found, family):
    made = found[family]["prepared"]
    assert found[family]["prepared_rows"] == made["kept"] == made["batches"]
    assert len(made["kept"]) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_padded_with_what_is_not_learned(found, family):
    rows, padded = found[family]["published_rows"], found[family]["padded"]
    width = max(len(row["labels"]) for row in rows)
    assert padded == [row["labels"] + [IGNORED] * (width - len(row["labels"])) for row in rows]


@pytest.mark.parametrize("way", ["published", "prepared"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_trainers_loss_is_the_one_computed_by_hand_on_our_labels(found, family, way):
    made = found[family][way]
    assert len(made["losses"]) == 3
    assert len(set(made["losses"])) == 3
    assert made["losses"] == pytest.approx(made["by_hand"], rel=1e-6)


def test_the_documents_training_script_runs_with_the_real_trainer(found):
    assert found["document"] == {"columns": ["input_ids", "labels"], "rows": 3, "steps": 3}
