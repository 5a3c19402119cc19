"""Rendering beside the peers: dicts in, ids and labels out; one case a process, interleaved, as ratios of CPU time.

python -m assets_tests.bench_peers                a fifth of the corpus, three rounds
python -m assets_tests.bench_peers --share 1 --rounds 5

Needs the reference folder: the corpus, and Qwen3's official tokenizer and template. Each peer has an environment of its
own in `.cache/peers/`, made when it is missing. A case whose ids or labels are not the reference's has no figure, but
for the peers of which a word says what they do otherwise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from assets_tests import bench_cases
from assets_tests.bench_cases import CASES, WHY, Case, Figures
from assets_tests.conftest import reference, unpacked

ROOT = Path(__file__).resolve().parents[1]
PEERS = {
    "trl": ("--no-deps", "trl==1.16.0"),
    "prime-intellect": ("renderers==0.1.12", "transformers>=5.20,<6", "httpx", "jinja2", "numpy"),
    "teich": ("teich==0.3.6", "transformers>=5.20,<6", "jinja2"),
    "chat-bricks": ("chat-bricks==0.1.5", "transformers>=5.20,<6", "numpy"),
}
TORCH = "2.13.0"
"""What chat-bricks tokenizes into: in a place of its own, as the tests have it."""


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


def torch() -> Path:
    """Where torch is: `pip` takes it from wherever this machine has it, for processors alone if it has that."""
    place = ROOT / ".cache" / f"torch-{TORCH}"
    if not place.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place), f"torch=={TORCH}"]
        subprocess.run(command, check=True)
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.2, help="of the corpus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="*", default=[*CASES], help="cases beside the first, by any part of their names"
    )
    asked = parser.parse_args()
    first, *others = CASES
    cases = [first, *(case for case in others if any(part in case for part in asked.only))]
    compare(cases, *prepared(asked.share), rounds=asked.rounds)


def prepared(share: float) -> tuple[Path, Path, Path]:
    """A share of the corpus and as much of the rest, the folder of the official tokenizer, and TRL's template."""
    whole, tokenizers = corpus_and_tokenizers()
    part = ROOT / ".cache" / f"corpus-{share}.json"
    rows, step = whole.read_bytes().splitlines(), round(1 / share)
    shares = (b"[" + b",".join(rows[start::step]) + b"]" for start in (0, step // 2))
    part.write_bytes(b"\n".join(shares))
    site = Path(environment("trl")).parents[1]
    (training,) = site.glob("lib/python*/site-packages/trl/chat_templates/qwen3_training.jinja")
    return part, tokenizers / "qwen3", training


def corpus_and_tokenizers() -> tuple[Path, Path]:
    """The corpus, and the folder of all official tokenizers."""
    folder = reference()
    if folder is None:
        print("nothing to measure: corpus and tokenizers are in the reference folder; set TRACEMILL_REFERENCE")
        sys.exit()
    corpus = ROOT / ".cache" / "corpus.jsonl"
    corpus.parent.mkdir(exist_ok=True)
    if not corpus.is_file():
        command = [sys.executable, folder / "perf" / "corpus.py", "--out", corpus]
        subprocess.run(command, check=True, capture_output=True)
    return corpus, unpacked(folder / "tokenizers.tar.xz")


def compare(cases: list[str], corpus: Path, folder: Path, training: Path, *, rounds: int) -> None:
    env = {**os.environ, "RAYON_NUM_THREADS": "1", "BENCH_TRAINING_TEMPLATE": str(training), "PYTHONSAFEPATH": "1"}

    def run(case: str, peer: str) -> Figures:
        own = {"PYTHONPATH": str(torch())} if peer == "chat-bricks" else {}
        command = [environment(peer), bench_cases.__file__, case, corpus, folder]
        done = subprocess.run(command, env=env | own, cwd=ROOT / ".cache", check=True, capture_output=True, text=True)
        return Figures(*json.loads(done.stdout.splitlines()[-1]))

    wanted = run("reference", "prime-intellect")
    found = {case: list[Figures]() for case in cases}
    for _ in range(rounds):
        for case in cases:
            found[case].append(run(case, CASES[case].peer))
    table = Table(
        title=f"{len(wanted.ids)} conversations, {wanted.tokens:,} tokens, {rounds} rounds, CPU of one process"
    )
    for heading in ("case", "tokens", "learned", "ids ≠", "labels ≠", "why", "s", "x ours", "min … max"):
        table.add_column(heading, justify="left" if heading in ("case", "why") else "right")
    base = [figures.seconds for figures in next(iter(found.values()))]
    for case, runs in found.items():
        table.add_row(case, *told_of(CASES[case], runs, wanted, base))
    console = Console(width=140)
    console.print(table)
    words = {word for case in cases for word in (CASES[case].ids, CASES[case].labels) if word}
    for word in sorted(words):
        console.print(f"{word}: {WHY[word]}")


def told_of(case: Case, runs: list[Figures], wanted: Figures, base: list[float]) -> Iterator[str]:
    """A row of the table: how many conversations differ; ratios only where none does that is not known to."""
    one = runs[0]
    ids = (Counter(wanted.ids) - Counter(one.ids)).total()
    labels = 0 if one.labels is None else (Counter(wanted.labels) - Counter(one.labels)).total()
    yield from (f"{one.tokens:,}", "-" if one.learned is None else f"{one.learned:,}")
    yield from (str(ids), "-" if one.labels is None else str(labels), case.ids or case.labels if ids or labels else "")
    if (ids and not case.ids) or (labels and not case.labels):
        yield from ("-", "differs", "")
        return
    ratios = [run.seconds / ours for run, ours in zip(runs, base, strict=True)]
    best = min(run.seconds for run in runs)
    yield from (f"{best:.3f}", f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} … {max(ratios):.2f}")


if __name__ == "__main__":
    main()
