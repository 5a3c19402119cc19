"""The deployment on a real Docker engine: a batch through a container of its own, and one that is killed on the way.

Nothing is pulled or built: the images are tested as they are there, `docker compose build` in deploy/ makes ours.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from datasets import load_dataset

from pipeline.projects import create_demo
from pipeline.records import RenderedRow
from pipeline.resources.store import Store
from pipeline.staleness import upstream
from pipeline.targets import Project

pytestmark = [
    pytest.mark.xdist_group("docker"),
    pytest.mark.filterwarnings("ignore:Using variable_values:DeprecationWarning"),  # Dagster's own client earns it
]
DEPLOY = Path(__file__).parents[2] / "deploy"
SOCKET = Path("/var/run/docker.sock")
IMAGES = ("tracemill", "postgres:15-bookworm")
PATIENCE = 120
"""Seconds: a loaded machine is slow, not broken."""


def docker(*words: str) -> str:
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout.strip()


def works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


def reason_to_skip() -> str | None:
    """Why the stack cannot be started here."""
    if not SOCKET.exists() or not works("docker", "info"):
        return "no Docker engine answers"
    if missing := [image for image in IMAGES if not works("docker", "image", "inspect", image)]:
        return f"no image {', '.join(missing)}: `docker compose build` and `pull` in deploy/"
    if works("docker", "volume", "inspect", "tracemill_project") or works("docker", "network", "inspect", "tracemill"):
        return "a deployment is on this machine already"
    if not works("docker", "compose", "version") and not works("docker-compose", "version"):
        return "no Docker Compose"
    owner = int(docker("run", "--rm", "tracemill", "id", "-u"))
    return None if os.getuid() in (0, owner) else f"the image's user is {owner}, not {os.getuid()}"


@dataclass
class Stack:
    """A project and the Dagster that serves it."""

    project: Project
    dagster: DagsterGraphQLClient

    def launched(self, job: str, batch: str) -> str:
        """A run of a batch, as soon as the sensor has seen the batch's file."""
        runs: list[str] = []

        def accepted() -> bool:
            with suppress(DagsterGraphQLClientError):
                runs.append(self.dagster.submit_job_execution(job, tags={"dagster/partition": batch}))
            return bool(runs)

        wait_until(accepted)
        return runs[0]

    def ended(self, run: str) -> DagsterRunStatus:
        """How a run came out."""
        ends = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
        wait_until(lambda: self.dagster.get_run_status(run) in ends)
        return self.dagster.get_run_status(run)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    project = create_demo(tmp_path_factory.mktemp("deployed") / "project")
    many_prompts(project)
    if os.getuid() == 0:
        owner = docker("run", "--rm", "tracemill", "id", "-u")
        subprocess.run(["chown", "-R", owner, str(project.folder)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "TRACEMILL_FOLDER": str(project.folder),
        "TRACEMILL_PORT": str(port),
        "DOCKER_GID": str(SOCKET.stat().st_gid),
        "DAGSTER_PG_PASSWORD": "trial",
    }
    compose = ["docker", "compose"] if works("docker", "compose", "version") else ["docker-compose"]
    compose += ["-p", "tracemill-test", "-f", str(DEPLOY / "compose.yaml")]
    try:
        subprocess.run([*compose, "up", "-d", "--no-build"], env=env, check=True, timeout=2 * PATIENCE)
        yield Stack(project, DagsterGraphQLClient("127.0.0.1", port_number=port))
    finally:
        subprocess.run([*compose, "logs", "--no-color", "--tail", "40"], env=env, timeout=PATIENCE)
        subprocess.run([*compose, "down", "--volumes"], env=env, check=True, timeout=PATIENCE)


def many_prompts(project: Project) -> None:
    """A batch that takes long enough to be killed on the way."""
    told = [json.loads(line) for file in project.batch_files().values() for line in file.open(encoding="utf-8")]
    many = [{**line, "prompt": f"{line['prompt']} ({again})"} for again in range(25) for line in told]
    lines = "".join(json.dumps(line) + "\n" for line in many)
    (project.prompts / "many.jsonl").write_text(lines, encoding="utf-8")


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE} seconds"
        time.sleep(0.1)


def test_a_batch_becomes_a_dataset_in_a_container_of_its_own(stack: Stack):
    run = stack.launched("produce", "pi_tasks")
    wait_until(lambda: docker("ps", "--all", "--quiet", "--filter", f"label=dagster/run_id={run}"))
    assert stack.ended(run) is DagsterRunStatus.SUCCESS
    store = Store(stack.project.data)
    assert all(store.batches(asset) == ["pi_tasks"] for asset in upstream(stack.project))
    for target in stack.project.targets:
        assert load_dataset(str(stack.project.folder / "dataset"), target, split="train").num_rows > 0
    assert list((stack.project.folder / ".dagster" / "logs" / run).rglob("*.err"))


def test_a_killed_run_fails_leaves_no_half_partition_and_is_done_again(stack: Stack):
    store, asset = Store(stack.project.data), "rendered/qwen3"
    run = stack.launched("produce", "many")
    wait_until(lambda: list(store.place(asset, "many").glob(".new-*/rows.parquet")))
    docker("kill", "--signal", "KILL", docker("ps", "--quiet", "--filter", f"label=dagster/run_id={run}"))
    assert store.manifest(asset, "many") is None
    assert stack.ended(run) is DagsterRunStatus.FAILURE

    wait_until(lambda: store.manifest("publication", "many"))
    assert sum(1 for _ in store.read(asset, "many", RenderedRow)) == store.known(asset, "many").rows
    assert not list(store.folder.rglob(".new-*"))
