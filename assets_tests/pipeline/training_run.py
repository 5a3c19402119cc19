"""A real trainer on our rows: what it makes of them, as JSON. Run by the environment that has torch and TRL.

python training_run.py TASK.json: families with their tokenizer folder, published dataset and rows to prepare.
"""

import json
import math
import sys
from datetime import date
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset, load_dataset
from torch.nn.functional import log_softmax

from pipeline.training import mask_data, prepare_data

STEPS = 3
IGNORED = -100


class Watch(transformers.TrainerCallback):
    """By hand, before each step: the mean of -log p of what the labels say, next token by next token."""

    def __init__(self, rows: list[dict[str, list[int]]]):
        self.rows, self.expected = rows, []

    def on_step_begin(self, args, state, control, model=None, **_):
        row = self.rows[state.global_step]
        learned = [at for at, label in enumerate(row["labels"]) if at and label != IGNORED]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        told = log_softmax(logits[[at - 1 for at in learned]].double(), dim=-1)
        losses = [-told[k, row["labels"][at]].item() for k, at in enumerate(learned)]
        self.expected.append(math.fsum(losses) / len(losses))


def tiny(tokenizer: Any) -> transformers.PreTrainedModel:
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=max(tokenizer.get_vocab().values()) + 1, **sizes)
    )


def settings(folder: Path, **more: Any) -> trl.SFTConfig:
    own = {"max_steps": STEPS, "logging_steps": 1, "report_to": "none", "learning_rate": 1e-2, "use_cpu": True}
    own |= {"per_device_train_batch_size": 1, "save_strategy": "no", "train_sampling_strategy": "sequential"}
    own |= {"bf16": False, "gradient_checkpointing": False, "disable_tqdm": True, "max_length": None}
    return trl.SFTConfig(output_dir=str(folder), **{**own, **more})


def trained(data: Dataset, tokenizer: Any, folder: Path, *, prepared: bool) -> dict[str, Any]:
    """What the trainer kept of the rows, what its collator makes of them, and its losses beside those by hand."""
    trainer = trl.SFTTrainer(tiny(tokenizer), settings(folder), train_dataset=data, processing_class=tokenizer)
    if prepared:
        mask_data(trainer, tokenizer=tokenizer)
    kept = [{name: row[name] for name in ("input_ids", "labels")} for row in map(dict, trainer.train_dataset)]
    watch = Watch(kept)
    trainer.add_callback(watch)
    batches = [
        {name: batch[name][0].tolist() for name in ("input_ids", "labels")} for batch in trainer.get_train_dataloader()
    ]
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"kept": kept, "batches": batches, "losses": losses, "by_hand": watch.expected}


def padded(data: Dataset, tokenizer: Any, folder: Path) -> list[list[int]]:
    """The labels of a batch of all rows."""
    args = settings(folder, per_device_train_batch_size=len(data))
    trainer = trl.SFTTrainer(tiny(tokenizer), args, train_dataset=data, processing_class=tokenizer)
    (batch,) = trainer.get_train_dataloader()
    return batch["labels"].tolist()


def document(block: str, rows: str, tokenizer: Any, folder: Path) -> dict[str, Any]:
    """The document's own training script, with a tiny model in the place of Unsloth's, and without its optimizer."""
    model = tiny(tokenizer)
    model.push_to_hub_merged = lambda repo, *_, **__: None  # type: ignore[attr-defined]
    fast = {"from_pretrained": lambda **_: (model, tokenizer), "get_peft_model": lambda model, **_: model}
    unsloth = ModuleType("unsloth")
    unsloth.FastLanguageModel = SimpleNamespace(**fast)  # type: ignore[attr-defined]
    patched = ModuleType("trl")
    patched.SFTConfig = lambda optim, optim_target_modules, output_dir, **own: settings(folder, **own)  # type: ignore[attr-defined]
    patched.SFTTrainer = lambda tokenizer, **own: trl.SFTTrainer(processing_class=tokenizer, **own)  # type: ignore[attr-defined]
    sys.modules |= {"unsloth": unsloth, "trl": patched}
    told: dict[str, Any] = {}
    exec(block.replace('"TeichAI/lordx64-claude-opus-4.7-max-cleaned"', repr(rows)), told)
    data = told["trainer"].train_dataset
    return {"columns": data.column_names, "rows": data.num_rows, "steps": told["trainer"].state.global_step}


def main() -> None:
    tasks, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[1]).resolve().parent / "work"
    transformers.utils.logging.set_verbosity_error()
    found: dict[str, Any] = {}
    for family, task in tasks["families"].items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(task["tokenizer"])
        published = load_dataset(tasks["dataset"], task["target"], split="train")
        prepared = prepare_data(tasks["rows"], tokenizer, renderer=family, today=date(2025, 7, 1), tokenize=True)
        found[family] = {
            "published": trained(published, tokenizer, folder, prepared=False),
            "published_rows": [{name: row[name] for name in ("input_ids", "labels")} for row in map(dict, published)],
            "prepared": trained(prepared, tokenizer, folder, prepared=True),
            "prepared_rows": list(map(dict, mask_data(prepared))),
            "padded": padded(published, tokenizer, folder),
        }
    first = next(iter(tasks["families"].values()))["tokenizer"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(first)
    found["document"] = document(tasks["block"], tasks["rows"], tokenizer, folder)
    Path(sys.argv[2]).write_text(json.dumps(found))


main()
