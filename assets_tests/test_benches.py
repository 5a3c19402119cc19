"""The benches run; what they measure is read by people."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CASES = {
    "bench": (["--copies", "1", "--rounds", "1"], "convert"),
    "bench_traced": (["--only", "qwen3", "--rounds", "1"], "40 │"),
    "bench_turns": (["--rounds", "1"], "proved"),
    "bench_pipeline": (["--copies", "1", "--rounds", "1", "--rows", "8"], "8 rows, 4 workers"),
    "bench_commands": (["--rounds", "1"], "row 3"),
    "bench_packing": (["--rows", "500", "--rounds", "1", "--alone"], "ours, with data: "),
}


@pytest.mark.parametrize("bench", CASES)
def test_a_bench_runs_to_its_last_line(bench: str, request: pytest.FixtureRequest):
    if bench in ("bench_traced", "bench_turns"):
        request.getfixturevalue("shared")  # or it is skipped
    options, last = CASES[bench]
    command = [sys.executable, "-m", f"assets_tests.{bench}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert last in done.stdout
