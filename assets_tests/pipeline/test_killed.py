"""A run that is killed at any moment: partitions stay whole, and the next run makes the rest."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from pipeline.resources.store import ROWS, Store
from pipeline.staleness import stale, upstream
from pipeline.targets import Project, load_project

ROOT = Path(__file__).parents[2]


RUN = """
import os, signal, sys, time, random
import dagster as dg
from pathlib import Path
from pipeline.definitions import definitions_of
from pipeline.targets import load_project

project, chance = load_project(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
job = definitions_of(project).resolve_job_def("produce")
batch = project.prompts / "pi_tasks.jsonl"
lines = batch.read_text().splitlines()
longest = 0.0

def run():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("prompt_batch", ["pi_tasks"])
        assert job.execute_in_process(instance=instance, partition_key="pi_tasks").success

for turn in range(int(sys.argv[3])):
    batch.write_text("\\n".join(lines[: 5 if turn % 2 else 8]))
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        run()
        os._exit(0)
    if turn:
        time.sleep(chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    longest = longest or time.monotonic() - start
    print(turn, flush=True)
    sys.stdin.readline()
"""


def test_a_run_killed_at_any_moment_leaves_whole_partitions(
    made: Project, materialize: Callable[..., dg.ExecuteInProcessResult]
):
    seed = random.Random(3).randrange(1000)
    command = [sys.executable, "-c", RUN, str(made.folder), str(seed), "6"]
    store = Store(made.data)
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        for turn in process.stdout:
            for asset in upstream(made):
                manifest = store.known(asset, "pi_tasks")
                rows = list(store.read(asset, "pi_tasks", ROWS[asset.partition("/")[0]]))
                rejects = list(store.rejects(asset, "pi_tasks"))
                assert (len(rows), len(rejects)) == (manifest.rows, sum(manifest.rejects.values())), (turn, asset)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    materialize(made, "pi_tasks")
    assert stale(load_project(made.folder), store) == []
    assert not list(made.data.rglob(".new-*"))
