"""What the stages cost, side by side: CPU time, interleaved, as ratios to transformers' own path.

make bench                                     the shipped example, many times over, with its small vocabulary
python -m assets_tests.bench --tokenizer DIR   with the vocabulary and template of a folder
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedTokenizerFast

from pipeline.auditing import audit
from pipeline.collecting import collect
from pipeline.converting import FORMATS, convert
from pipeline.masking import mask
from pipeline.records import Conversation, MaskedRow, Prompt, RenderedRow, Trace
from pipeline.rendering import load_renderer, render
from pipeline.resources.store import Store
from pipeline.sourcing.files import read_batch
from pipeline.targets import EXAMPLE, Target
from renderers.messages import to_hub

TIMES = 8
"""How many copies of the example."""
ROUNDS = 5
Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="example", help="a folder with tokenizer.json and chat_template.jinja")
    target = Target(model=parser.parse_args().tokenizer, renderer="traced")
    traces = example_traces()
    rows = list(renamed(convert(traces)))
    size = sum(len(file.data) for trace in traces for file in trace.files)
    with tempfile.TemporaryDirectory() as folder:
        cases = stages(traces, rows, target, Store(Path(folder)))
        times = measured(cases)
    print_table(times, rows, size)


def example_traces() -> list[Trace]:
    prompts = chain.from_iterable(read_batch(path) for path in sorted((EXAMPLE / "prompts").glob("*.jsonl")))
    found = collect((p for p in prompts if isinstance(p, Prompt)), EXAMPLE / "prompts", FORMATS)
    return [trace for trace in found if isinstance(trace, Trace)]


def renamed(told) -> list[Conversation]:
    kept = [row for row in told if isinstance(row, Conversation)]
    return [msgspec.structs.replace(row, id=f"{row.id}-{copy:03}") for copy in range(TIMES) for row in kept]


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
        f"convert, {TIMES} times": lambda: [list(convert(traces)) for _ in range(TIMES)],
        "store: write": lambda: store.write("rendered/y", "b", rendered, code_version=str(time.perf_counter_ns())),
        "store: read": lambda: list(store.read("rendered/x", "b", RenderedRow)),
    }


def folder_of(target: Target) -> Path:
    return EXAMPLE / "tokenizer" if target.model == "example" else Path(target.model)


def measured(cases: dict[str, Work]) -> dict[str, list[float]]:
    """CPU seconds of each round; the rounds of all cases take turns, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for counted in range(-1, ROUNDS):
        for name, work in cases.items():
            begin = time.process_time()
            work()
            if counted >= 0:
                times[name].append(time.process_time() - begin)
    return times


def print_table(times: dict[str, list[float]], rows: list[Conversation], size: int) -> None:
    base = next(iter(times.values()))
    table = Table(title=f"{len(rows)} conversations of {size * TIMES / 1e6:.1f} MB of traces", box=box.SIMPLE_HEAD)
    for heading in ("stage", "ms", "ratio", "min … max"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, seconds in times.items():
        ratios = sorted(mine / theirs for mine, theirs in zip(seconds, base, strict=True))
        spread = f"{ratios[0]:.2f} … {ratios[-1]:.2f}"
        table.add_row(name, f"{statistics.median(seconds) * 1e3:,.0f}", f"{statistics.median(ratios):.2f}", spread)
    Console().print(table)


if __name__ == "__main__":
    main()
