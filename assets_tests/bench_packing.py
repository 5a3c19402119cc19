"""Packing beside TRL's: ids and labels of rows as long as agents' traces are, planned and laid out; CPU time.

python -m assets_tests.bench_packing                    100,000 rows, sequences of 4,096 and of 8,192 tokens
python -m assets_tests.bench_packing --rows 2000 --alone
"""

import argparse
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from assets_tests.bench_peers import environment
from assets_tests.timing import Work, interleaved, show
from pipeline.mixing.packing import pack, plan

ROOMS = (4096, 8192)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without TRL, which has an environment of its own")
    asked = parser.parse_args()
    datasets.disable_progress_bars()
    datasets.disable_caching()
    lengths = np.exp(np.random.default_rng(5).normal(6.3, 1.2, asked.rows)).astype(int) + 20
    for room in ROOMS:
        measure(lengths[lengths <= room], room, rounds=asked.rounds, alone=asked.alone)


def measure(lengths: np.ndarray, room: int, *, rounds: int, alone: bool) -> None:
    ends = np.cumsum(lengths)
    ids = np.arange(ends[-1], dtype=np.int32)
    rows, made = np.split(ids, ends[:-1]), dict[str, int]()

    def ours() -> None:
        planned = plan(lengths, room)
        made["ours, with data"] = sum(1 for _ in pack(planned, rows, rows))

    cases: dict[str, Work] = {"ours, with data": ours, "ours, plan": lambda: plan(lengths, room)}
    if not alone:
        sys.path.extend(map(str, Path(environment("trl")).parents[1].glob("lib/python*/site-packages")))
        from trl import pack_dataset

        column = pa.LargeListArray.from_arrays(pa.array(np.concatenate(([0], ends))), pa.array(ids))
        data = datasets.Dataset(pa.table({"input_ids": column, "labels": column}))

        def theirs() -> None:
            made["TRL, bfd"] = pack_dataset(data, room, "bfd").num_rows

        cases["TRL, bfd"] = theirs
    show(f"{len(lengths):,} rows into sequences of {room:,} tokens", interleaved(cases, rounds))
    for name, sequences in made.items():
        print(f"{name}: {sequences:,} sequences, {ends[-1] / (sequences * room):.4f} full")


if __name__ == "__main__":
    main()
