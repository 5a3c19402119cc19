"""What loading the graph and asking `why` take, each time in a new process of the demo project; CPU time.

python -m assets_tests.bench_commands                   loads of the graph after edits of a copy of the sources
python -m assets_tests.bench_commands --rounds 1
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from assets_tests.timing import Work, interleaved, show

ROOT = Path(__file__).parents[1]
GRAPH = "import pipeline.definitions"
WHY = "from pipeline.cli import main; main()"
CODE = "import pipeline.explaining, pipeline.finding, pipeline.projects"
QUESTION = """
import sys, time
from pipeline.explaining import why
from pipeline.finding import find_case
from pipeline.projects import existing_project
from pipeline.resources.store import Store

begin = time.process_time()
project = existing_project()
why(find_case(Store(project.data), project, sys.argv[1], target="qwen3", batch=None), 50)
print(time.process_time() - begin)
"""
ROWS = ("0", "3")
"""Numbers of the longest row of the example, 5,397 tokens, and of a common one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place), rounds=asked.rounds)


def measure(place: Path, *, rounds: int) -> None:
    tree, demo = place / "tree", place / "demo"
    for package in ("pipeline", "renderers"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": str(tree), "TRACEMILL_PROJECT": str(demo)}

    def run(code: str, *words: str) -> Work:
        command = [sys.executable, "-c", code, *words]
        return lambda: subprocess.run(command, cwd=place, env=env, check=True, stdout=subprocess.DEVNULL)

    def after(file: str, line: str) -> Work:
        def work() -> None:
            with (tree / file).open("a") as end:
                end.write(line)
            run(GRAPH)()

        return work

    run(WHY, "demo", str(demo))()
    loads = {
        "Dagster alone": run("import dagster"),
        "nothing": run(GRAPH),
        "a comment in a family": after("renderers/families/glm_4_5.py", "# more\n"),
        "code of patterns.py": after("renderers/patterns.py", "MORE = 1\n"),
        "code of masking.py": after("pipeline/masking.py", "MORE = 1\n"),
    }
    show("the graph is loaded, after an edit of", interleaved(loads, rounds, clock=children))
    asked = {"the code is loaded": run(CODE), "tracemill why 0 --token 50": run(WHY, "why", "0", "--token", "50")}
    show("why, from start to end", interleaved(asked, rounds, clock=children))

    def question(row: str) -> float:
        command = [sys.executable, "-c", QUESTION, row]
        return float(subprocess.run(command, cwd=place, env=env, check=True, capture_output=True).stdout)

    first = {f"row {row}": [question(row) for _ in range(rounds)] for row in ROWS}
    show("why, the first question of a process whose code is loaded", first)


def children() -> float:
    """CPU seconds of processes that have ended."""
    told = os.times()
    return told.children_user + told.children_system


if __name__ == "__main__":
    main()
