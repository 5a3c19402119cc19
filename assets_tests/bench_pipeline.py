"""What the way from conversations to a dataset costs, side by side, interleaved, as ratios to ours.

make bench                                          the shipped example, many times over
python -m assets_tests.bench_pipeline --corpus FILE --tokenizer DIR --template FILE --teich PYTHON --rows 1000000

JSONL of conversations in, Parquet of masked rows out, in one process, by the wall and by the CPU: ours; `datasets.map`
with transformers' own mask (its template must mark generations); teich, where an interpreter that has it is named. Ours
proves every turn, which no other does, adds `attention_mask` and what is trained by kind, and hashes all rows; once
more it proves nothing, as the others. Then what Parquet costs, and a stream of many rows: memory, and what four workers
bring.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path

import datasets
import numpy as np
from msgspec.structs import replace
from transformers import PreTrainedTokenizerFast

from assets_tests.timing import Work, interleaved, show
from pipeline.columns import RowWriter
from pipeline.gathering import read
from pipeline.loading import load_renderer
from pipeline.masking import mask
from pipeline.publishing.shards import Sourced, Tensors, tensors
from pipeline.records import Conversation, MaskedRow, RenderedRow
from pipeline.rendering import render
from pipeline.targets import EXAMPLE, Target
from renderers.hub import to_hub
from renderers.messages import Request
from renderers.renderer import Renderer, Witness
from renderers.segments import Stream

GENERATION = """{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' %}{% generation %}{{ (m.reasoning_content or '') + (m.content or '') }}
{%- for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|im_end|>{% endgeneration %}
{% else %}{{ m.content }}<|im_end|>
{% endif %}{% endfor %}"""
"""A template that marks what is generated, for the example's vocabulary."""
TEICH = """if True:
    import sys, time, json, datasets, teich
    from types import SimpleNamespace
    from transformers import PreTrainedTokenizerFast
    from teich.loader import _dataset_from_rows
    datasets.disable_progress_bars(); datasets.disable_caching()
    corpus, folder, template, out = sys.argv[1:]
    tok = PreTrainedTokenizerFast(tokenizer_file=folder + "/tokenizer.json", eos_token="<|im_end|>")
    tok.chat_template = open(template).read()
    begin = time.perf_counter(), time.process_time()
    rows = [json.loads(line) for line in open(corpus, "rb")]
    for row in rows:
        for m in row["messages"]:
            m.setdefault("content", "")
    keep = [{"messages": r["messages"], "tools": r["tools"], "prompt": "", "metadata": {}} for r in rows]
    prepared = teich.prepare_data(_dataset_from_rows(keep), tok, tokenize=True, verbose=False, strict=False)
    args = SimpleNamespace(
        dataset_text_field="text", max_length=None, packing=False, truncation_mode=None
    )
    trainer = SimpleNamespace(
        train_dataset=prepared, eval_dataset=None, processing_class=tok, tokenizer=tok, args=args, data_collator=None
    )
    made = teich.mask_data(trainer, tokenizer=tok, audit=False, verbose=False).train_dataset
    made.to_parquet(out)
    print(json.dumps([time.perf_counter() - begin[0], time.process_time() - begin[1]]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="conversations, a JSON object a line; else the example, often")
    parser.add_argument("--copies", type=int, default=20, help="how many copies of the example")
    parser.add_argument("--tokenizer", type=Path, default=EXAMPLE / "tokenizer", help="a folder with tokenizer.json")
    parser.add_argument("--template", type=Path, help="a chat template that marks generations")
    parser.add_argument("--renderer", default="qwen3", help="a family, or `traced`")
    parser.add_argument("--teich", help="a Python that has teich")
    parser.add_argument("--rows", type=int, default=4_000, help="how many rows are streamed")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        asked.corpus = asked.corpus or example_corpus(work / "corpus.jsonl", asked.copies)
        target = Target(model=str(asked.tokenizer), renderer=asked.renderer)
        end_to_end(asked, target, work)
        parts(asked, target, work)
        stream(asked, target, work)


def example_corpus(path: Path, copies: int) -> Path:
    """The example's conversations, so many times."""
    from assets_tests.bench import example_traces
    from pipeline.converting import convert

    told = [row for row in convert(example_traces()) if isinstance(row, Conversation)]
    with path.open("w", encoding="utf-8") as lines:
        for copy in range(copies):
            for row in told:
                hub = {"id": f"{row.id}-{copy}", "messages": to_hub(row.answered), "tools": list(row.tools)}
                lines.write(json.dumps(hub) + "\n")
    return path


def conversations(corpus: Path) -> Iterator[Conversation]:
    return (row for row in read(corpus, format=None) if isinstance(row, Conversation))


def made(corpus: Path, target: Target, renderer: Renderer, out: Path) -> int:
    """JSONL -> masked Parquet, as the stages do it."""
    rows = (row for row in render(conversations(corpus), renderer) if isinstance(row, RenderedRow))
    with RowWriter(out, MaskedRow) as writer:
        for row in mask(rows, target):
            if isinstance(row, MaskedRow):
                writer.add(row)
    return writer.rows


@dataclass(frozen=True)
class Unproved:
    """A witness that is believed."""

    witness: Witness

    @property
    def name(self) -> str:
        return self.witness.name

    @property
    def flags(self) -> Collection[str]:
        return self.witness.flags

    def tell(self, request: Request) -> Stream:
        return self.witness.tell(request.but(trusted=True))


def mapped(corpus: Path, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """JSONL -> masked Parquet, as transformers' documentation does it."""

    def masked(row: dict) -> dict:
        told = tokenizer.apply_chat_template(
            json.loads(row["messages"]),
            tools=json.loads(row["tools"]) or None,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids, learned = told["input_ids"], told["assistant_masks"]
        return {"input_ids": ids, "labels": [i if m else -100 for i, m in zip(ids, learned, strict=True)]}

    rows = [json.loads(line) for line in corpus.open("rb")]
    texts = [{name: json.dumps(row.get(name) or []) for name in ("messages", "tools")} for row in rows]
    datasets.disable_caching()
    datasets.Dataset.from_list(texts).map(masked, remove_columns=["messages", "tools"]).to_parquet(str(out))


def end_to_end(asked: argparse.Namespace, target: Target, work: Path) -> None:
    template = asked.template.read_text(encoding="utf-8") if asked.template else GENERATION
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(asked.tokenizer / "tokenizer.json"))
    tokenizer.chat_template = template
    renderer = load_renderer(target)  # as the others' tokenizers: loaded before anything is measured
    unproved = dataclasses.replace(renderer, witness=Unproved(renderer.witness))
    cases: dict[str, Work] = {
        "ours": lambda: made(asked.corpus, target, renderer, work / "ours.parquet"),
        "ours, nothing proved": lambda: made(asked.corpus, target, unproved, work / "unproved.parquet"),
        "datasets.map + assistant mask": lambda: mapped(asked.corpus, tokenizer, work / "mapped.parquet"),
    }
    if asked.teich:
        (work / "teich.jinja").write_text((asked.tokenizer / "chat_template.jinja").read_text())
        given = asked.corpus, asked.tokenizer, work / "teich.jinja", work / "teich.parquet"
        cases["teich, prepare + mask"] = lambda: itself([asked.teich, "-c", TEICH, *map(str, given)])
    times = interleaved(cases, asked.rounds, clock=both)
    count = sum(1 for _ in asked.corpus.open("rb"))
    for at, heading in enumerate(("wall ms", "CPU ms")):
        shown = {name: [float(one[at]) for one in rounds] for name, rounds in times.items()}
        show(f"{count:,} conversations, JSONL to masked Parquet, one process", shown, heading=heading)


def itself(command: list[str]) -> np.ndarray:
    """What a process says that it took, as `both` has it."""
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return np.array(json.loads(told.splitlines()[-1]))


def both() -> np.ndarray:
    """Seconds of the wall, and of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def parts(asked: argparse.Namespace, target: Target, work: Path) -> None:
    """What Parquet costs beside the ids that it holds."""
    told, renderer = list(conversations(asked.corpus)), load_renderer(target)
    times: dict[str, list[float]] = {"render: ids, spans, proofs": [], "mask": [], "write Parquet": []}
    size = tokens = 0
    for counted in range(-1, asked.rounds):
        begin = time.process_time()
        rendered = [row for row in render(told, renderer) if isinstance(row, RenderedRow)]
        middle = time.process_time()
        masked = [row for row in mask(rendered, target) if isinstance(row, MaskedRow)]
        last = time.process_time()
        size, tokens = written(masked, work / "masked.parquet"), sum(len(row.input_ids) for row in masked)
        if counted >= 0:
            for name, spent in zip(times, (middle - begin, last - middle, time.process_time() - last), strict=True):
                times[name].append(spent)
    show(f"{tokens:,} tokens", times)
    held = {row.id: row for row in told}
    origins = (Sourced(held[row.conversation_id], "0" * 64, "train") for row in masked)
    rows = (replace(row, conversation_id=row.conversation_id) for row in masked)
    with RowWriter(work / "published.parquet", Tensors, published=True) as writer:
        for _, row in tensors(rows, origins, "0" * 20):
            writer.add(row)
    published = (work / "published.parquet").stat().st_size
    print(f"stored {size / tokens:.3f}, published {published / tokens:.3f} bytes a token, all columns\n")


def written(rows: list[MaskedRow], path: Path) -> int:
    with RowWriter(path, MaskedRow) as writer:
        for row in rows:
            writer.add(row)
    return path.stat().st_size


def worker(corpus: Path, target: Target, out: Path, rows: int) -> tuple[float, int]:
    """Streams so many rows; wall seconds, and the peak of memory in bytes."""
    renderer, begin = load_renderer(target), time.perf_counter()
    short = [
        row for row in islice(conversations(corpus), 4000) if sum(len(str(m.content)) for m in row.messages) < 9000
    ]

    def many() -> Iterator[Conversation]:
        for number, row in enumerate(islice(cycle(short), rows)):
            first = row.messages[0]
            novel = first.but(content=f"{first.content} {number * 2654435761 % 2**32:x}")
            yield replace(row, id=str(number), messages=(novel, *row.messages[1:]))

    told = (row for row in render(many(), renderer) if isinstance(row, RenderedRow))
    with RowWriter(out, MaskedRow) as writer:
        for row in mask(told, target):
            if isinstance(row, MaskedRow):
                writer.add(row)
    return time.perf_counter() - begin, peak()


def peak() -> int:
    """The most bytes that this process has held. What `getrusage` says, a child inherits from its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def stream(asked: argparse.Namespace, target: Target, work: Path) -> None:
    """One worker, then four with a quarter each: every one a process of its own."""
    for workers in (1, 4):
        with ExitStack() as stack:
            pools = [stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for _ in range(workers)]
            outs, rows = [work / f"{number}.parquet" for number in range(workers)], asked.rows // workers
            begun = [
                pool.submit(worker, asked.corpus, target, out, rows) for pool, out in zip(pools, outs, strict=True)
            ]
            done = [one.result() for one in begun]
        slowest, most = max(seconds for seconds, _ in done), max(memory for _, memory in done)
        print(f"{asked.rows:,} rows, {workers} workers: {asked.rows / slowest:,.0f} rows/s, {most / 1e6:,.0f} MB each")


if __name__ == "__main__":
    sys.exit(main())
