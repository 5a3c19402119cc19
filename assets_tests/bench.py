"""What the stages cost, side by side: CPU time, interleaved, as ratios to transformers' own path.

make bench                                     the shipped example, many times over, with its small vocabulary
python -m assets_tests.bench --tokenizer DIR   with the vocabulary and template of a folder
"""

import argparse
import tempfile
import time
from itertools import chain
from pathlib import Path

import msgspec
from transformers import PreTrainedTokenizerFast

from assets_tests.timing import Work, interleaved, show
from pipeline.auditing import audit
from pipeline.collecting import AGENTS
from pipeline.collecting.agent import World
from pipeline.converting import FORMATS, convert
from pipeline.loading import load_renderer
from pipeline.masking import mask
from pipeline.records import Conversation, MaskedRow, Prompt, RenderedRow, Trace
from pipeline.rendering import render
from pipeline.resources.store import Store
from pipeline.settings import Collection
from pipeline.sourcing.files import read_batch
from pipeline.targets import EXAMPLE, Target
from renderers.hub import to_hub


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="example", help="a folder with tokenizer.json and chat_template.jinja")
    parser.add_argument("--copies", type=int, default=8, help="how many copies of the example")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    target = Target(model=asked.tokenizer, renderer="traced")
    traces = example_traces() * asked.copies
    rows = renamed(convert(traces))
    size = sum(len(file.data) for trace in traces for file in trace.files)
    with tempfile.TemporaryDirectory() as folder:
        cases = stages(traces, rows, target, Store(Path(folder)))
        times = interleaved(cases, asked.rounds)
    show(f"{len(rows)} conversations of {size / 1e6:.1f} MB of traces", times)


def example_traces() -> list[Trace]:
    prompts = chain.from_iterable(read_batch(path) for path in sorted((EXAMPLE / "prompts").glob("*.jsonl")))
    world = World(EXAMPLE / "prompts", FORMATS, Collection())
    asked = (prompt for prompt in prompts if isinstance(prompt, Prompt))
    return [
        trace for prompt in asked for trace in AGENTS["replay"].run(prompt, world, None) if isinstance(trace, Trace)
    ]


def renamed(told) -> list[Conversation]:
    kept = (row for row in told if isinstance(row, Conversation))
    return [msgspec.structs.replace(row, id=f"{row.id}-{number:04}") for number, row in enumerate(kept)]


def stages(traces: list[Trace], rows: list[Conversation], target: Target, store: Store) -> dict[str, Work]:
    """The first is what all others are compared with."""
    traced = load_renderer(target)
    family = load_renderer(target.model_copy(update={"renderer": "qwen3"}))
    official = PreTrainedTokenizerFast(tokenizer_file=str(folder_of(target) / "tokenizer.json"))
    official.chat_template = traced.tokenizer.chat_template
    hub = [(to_hub(row.answered), list(row.tools) or None) for row in rows]
    rendered = [row for row in render(rows, traced) if isinstance(row, RenderedRow)]
    masked = [row for row in mask(rendered, target) if isinstance(row, MaskedRow)]
    store.write("rendered/x", "b", rendered, code_version="1")
    return {
        "apply_chat_template(tokenize=True)": lambda: [
            official.apply_chat_template(messages, tools=tools, tokenize=True) for messages, tools in hub
        ],
        "render, declared: ids, spans, proofs": lambda: list(render(rows, family)),
        "render, traced: ids, spans, proofs": lambda: list(render(rows, traced)),
        "mask": lambda: list(mask(rendered, target)),
        "audit": lambda: list(audit(rows, rendered, masked, tokenizer=traced.tokenizer, target=target)),
        "convert": lambda: list(convert(traces)),
        "store: write": lambda: store.write("rendered/y", "b", rendered, code_version=str(time.perf_counter_ns())),
        "store: read": lambda: list(store.read("rendered/x", "b", RenderedRow)),
    }


def folder_of(target: Target) -> Path:
    return EXAMPLE / "tokenizer" if target.model == "example" else Path(target.model)


if __name__ == "__main__":
    main()
