"""Rendering beside the peers: dicts in, ids and labels out; one case a process, interleaved, as ratios of CPU time.

python -m assets_tests.bench_peers                a twentieth of the corpus, three rounds
python -m assets_tests.bench_peers --share 1 --rounds 5

Needs the reference folder: the corpus, and Qwen3's official tokenizer and template. Each peer has an environment of its
own in `.cache/peers/`, made when it is missing. Whether ids and labels are right is not asked here.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
PEERS = {
    "trl": ("--no-deps", "trl==1.16.0"),
    "prime-intellect": ("renderers==0.1.12", "transformers>=5.20,<6", "httpx", "jinja2", "numpy"),
    "teich": ("teich==0.3.6", "transformers>=5.20,<6", "jinja2"),
    "chat-bricks": ("chat-bricks[train]==0.1.5", "transformers>=5.20,<6"),
}
BATCH = 512
Row = dict
Work = Callable[[], tuple[int, int]]
"""Does it all; says how many tokens there are, and how many are learned."""


def texts_of(rows: list[Row], folder: Path) -> list[str]:
    from renderers import Renderer

    renderer = ours(folder)
    assert isinstance(renderer, Renderer)
    return [renderer.stream(renderer.request(row["messages"], row["tools"])).text for row in rows]


def ours(folder: Path, how: str = "qwen3"):
    from renderers import create_renderer

    return create_renderer(str(folder), how)


def rendering(
    rows: list[Row],
    folder: Path,
    *,
    fast: bool = True,
    how: str = "qwen3",
    from_json: bool = False,
    trusted: bool = True,
) -> Work:
    """Ours: ids, runs and labels; a proof of each turn but where they are trusted, as the peers trust them."""
    from renderers import POLICIES
    from renderers.masking import batch_labels

    renderer = ours(folder, how)
    if fast:
        assert renderer.tokenizer.engine.load()
    else:
        renderer.tokenizer.engine._loads_at = 10**18
    given = [json.dumps(row).encode() for row in rows] if from_json else rows

    def work() -> tuple[int, int]:
        tokens = learned = 0
        for at in range(0, len(given), BATCH):
            part = [json.loads(row) for row in given[at : at + BATCH]] if from_json else given[at : at + BATCH]
            asked = [renderer.request(row["messages"], row["tools"]) for row in part]
            batch = renderer.render_batch([replace(request, trusted=trusted) for request in asked])
            labels = batch_labels(batch, POLICIES["assistant"])
            tokens, learned = tokens + len(batch.ids), learned + int((labels != -100).sum())
        return tokens, learned

    return work


def raw_gigatoken(rows: list[Row], folder: Path) -> Work:
    import gigatoken

    from renderers.engines import encode_fast

    texts, fast = texts_of(rows, folder), gigatoken.Tokenizer.from_json((folder / "tokenizer.json").read_text("utf-8"))
    parts = [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]
    return lambda: (sum(len(encode_fast(fast, part)[0]) for part in parts), 0)


def raw_tokenizers(rows: list[Row], folder: Path) -> Work:
    import tokenizers

    texts, plain = texts_of(rows, folder), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    parts = [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]
    return lambda: (
        sum(len(one.ids) for part in parts for one in plain.encode_batch_fast(part, add_special_tokens=False)),
        0,
    )


def official(folder: Path, template: Path | None = None):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if template:
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def transformers_mask(rows: list[Row], folder: Path) -> Work:
    """With the template in which TRL marks what the assistant says."""
    tokenizer = official(folder, Path(os.environ["BENCH_TRAINING_TEMPLATE"]))

    def work() -> tuple[int, int]:
        tokens = learned = 0
        asked = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
        for row in rows:
            told = tokenizer.apply_chat_template(row["messages"], tools=row["tools"] or None, **asked)
            tokens, learned = tokens + len(told["input_ids"]), learned + sum(told["assistant_masks"])
        return tokens, learned

    return work


def prime_intellect(rows: list[Row], folder: Path) -> Work:
    from renderers.base import build_training_sample  # pyright: ignore[reportMissingImports]
    from renderers.qwen3 import Qwen3Renderer  # pyright: ignore[reportMissingImports]

    renderer = Qwen3Renderer(official(folder))

    def work() -> tuple[int, int]:
        tokens = learned = 0
        for row in rows:
            sample = build_training_sample(renderer, row["messages"], tools=row["tools"] or None)
            tokens, learned = tokens + len(sample.token_ids), learned + sum(sample.loss_mask)
        return tokens, learned

    return work


def chat_bricks(rows: list[Row], folder: Path) -> Work:
    from chat_bricks import Chat  # pyright: ignore[reportMissingImports]
    from chat_bricks.registry import get_template  # pyright: ignore[reportMissingImports]

    tokenizer, template = official(folder), get_template("qwen3")

    def work() -> tuple[int, int]:
        tokens = learned = 0
        for row in rows:
            try:
                told = Chat(template, row["messages"], tools=row["tools"] or None, tokenizer=tokenizer).tokenize(
                    tokenizer
                )
            except Exception:  # some it cannot tell: they cost it what they cost
                continue
            tokens, learned = tokens + told["input_ids"].shape[1], learned + int((told["labels"] != -100).sum())
        return tokens, learned

    return work


def teich(rows: list[Row], folder: Path) -> Work:
    import datasets
    import teich as peer  # pyright: ignore[reportMissingImports]
    from teich.loader import _dataset_from_rows  # pyright: ignore[reportMissingImports]

    datasets.disable_progress_bars()
    datasets.disable_caching()
    tokenizer = official(folder)
    told = [
        {"messages": [{"content": "", **m} for m in r["messages"]], "tools": r["tools"], "prompt": ""} for r in rows
    ]
    table = _dataset_from_rows([{**row, "metadata": {}} for row in told])
    settings = SimpleNamespace(dataset_text_field="text", max_length=None, packing=False, truncation_mode=None)

    def work() -> tuple[int, int]:
        prepared, _ = peer.prepare_data(
            table, tokenizer, tokenize=True, return_report=True, verbose=False, strict=False
        )
        trainer = SimpleNamespace(train_dataset=prepared, eval_dataset=None, processing_class=tokenizer)
        trainer = SimpleNamespace(**vars(trainer), tokenizer=tokenizer, args=settings, data_collator=None)
        out = peer.mask_data(trainer, tokenizer=tokenizer, audit=False, verbose=False).train_dataset
        learned = sum(label != -100 for labels in out["labels"][:] for label in labels)
        return sum(map(len, out["input_ids"][:])), learned

    return work


CASES: dict[str, tuple[str, Callable[[list[Row], Path], Work]]] = {
    "ours": ("", rendering),
    "ours, every turn proved": ("", lambda rows, folder: rendering(rows, folder, trusted=False)),
    "ours, from JSON": ("", lambda rows, folder: rendering(rows, folder, from_json=True)),
    "ours, tokenizers alone": ("", lambda rows, folder: rendering(rows, folder, fast=False)),
    "ours, traced, every turn proved": ("", lambda rows, folder: rendering(rows, folder, how="traced", trusted=False)),
    "gigatoken, raw": ("", raw_gigatoken),
    "tokenizers, encode_batch_fast": ("", raw_tokenizers),
    "transformers, assistant mask": ("", transformers_mask),
    "Prime Intellect, build_training_sample": ("prime-intellect", prime_intellect),
    "chat-bricks, Chat.tokenize": ("chat-bricks", chat_bricks),
    "teich, prepare_data + mask_data": ("teich", teich),
}
"""The first is what all others are compared with; the environment of each, ours where there is none."""


def measure(case: str, corpus: Path, folder: Path, *, repeats: int) -> None:
    """In a process of its own: CPU seconds, tokens, learned tokens, as JSON. Set-up and one round are not counted."""
    rows = [json.loads(line) for line in corpus.read_bytes().splitlines()]
    work = CASES[case][1](rows, folder)
    gc.collect()
    gc.disable()
    if case.startswith(("ours", "gigatoken")):
        work()
    begin = time.process_time()
    for _ in range(repeats):
        tokens, learned = work()
    print(json.dumps(((time.process_time() - begin) / repeats, tokens, learned)))


def environment(name: str) -> str:
    """The Python of a peer's environment."""
    place = ROOT / ".cache" / "peers" / name
    python = place / "bin" / "python"
    if not name:
        return sys.executable
    if not python.is_file():
        subprocess.run(["uv", "venv", "-q", "--python", sys.executable, place], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", python, *PEERS[name]], check=True)
    return str(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05, help="of the corpus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        measure(asked.case, *asked.files, repeats=5 if asked.case.startswith(("ours", "giga")) else 1)
    else:
        compare(*prepared(asked.share), rounds=asked.rounds)


def prepared(share: float) -> tuple[Path, Path, Path]:
    """A share of the corpus, the folder of the official tokenizer, and TRL's template."""
    from assets_tests.conftest import reference, unpacked

    folder = reference()
    if folder is None:
        print("no peers: the corpus and the tokenizer are in the reference folder; set TRACEMILL_REFERENCE")
        sys.exit()
    whole, part = ROOT / ".cache" / "corpus.jsonl", ROOT / ".cache" / f"corpus-{share}.jsonl"
    if not whole.is_file():
        subprocess.run([sys.executable, folder / "perf" / "corpus.py", "--out", whole], check=True, capture_output=True)
    part.write_bytes(b"\n".join(whole.read_bytes().splitlines()[:: round(1 / share)]))
    site = Path(environment("trl")).parents[1]
    (training,) = site.glob("lib/python*/site-packages/trl/chat_templates/qwen3_training.jinja")
    return part, unpacked(folder / "tokenizers.tar.xz") / "qwen3", training


def compare(corpus: Path, folder: Path, training: Path, *, rounds: int) -> None:
    from rich.console import Console
    from rich.table import Table

    found: dict[str, list[list[float]]] = {case: [] for case in CASES}
    env = {**os.environ, "RAYON_NUM_THREADS": "1", "BENCH_TRAINING_TEMPLATE": str(training), "PYTHONSAFEPATH": "1"}
    for _ in range(rounds):
        for case, (peer, _) in CASES.items():
            command = [environment(peer), __file__, "--case", case, "--files", corpus, folder]
            done = subprocess.run(command, env=env, cwd=ROOT / ".cache", check=True, capture_output=True, text=True)
            found[case].append(json.loads(done.stdout.splitlines()[-1]))
    table = Table(title=f"{len(corpus.read_bytes().splitlines())} conversations, {rounds} rounds, CPU of one process")
    for heading in ("case", "tokens", "learned", "s", "x ours", "min … max"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    base = [seconds for seconds, *_ in next(iter(found.values()))]
    for case, runs in found.items():
        ratios = [seconds / ours for (seconds, *_), ours in zip(runs, base, strict=True)]
        spread = f"{min(ratios):.2f} … {max(ratios):.2f}"
        seconds = statistics.median(seconds for seconds, *_ in runs)
        row = f"{runs[0][1]:,}", f"{runs[0][2]:,}", f"{seconds:.3f}", f"{statistics.median(ratios):.2f}", spread
        table.add_row(case, *row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
