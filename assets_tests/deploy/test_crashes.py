"""Crash drills on an instance without Docker: its processes killed by signal 9, a run worker once in every stage.

Where a worker dies is no accident: every process of the instance loads `sitecustomize`, which looks at a batch's marker
when the manifest of a partition is about to be replaced, the last moment at which nothing of it may count.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

from pipeline.partitions import BATCHES
from pipeline.projects import create_demo, dagster_home
from pipeline.resources.store import Store
from pipeline.staleness import stale, upstream
from pipeline.targets import Project

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using variable_values:DeprecationWarning"  # Dagster's own client earns it
)
PATIENCE = 240
"""Seconds: a loaded machine is slow, not broken."""
STAGES = ("prompts", "traces", "conversations", "rendered/qwen3", "masked/qwen3", "audits/qwen3", "publication")
COMMANDS = {
    "code": "dagster api grpc -h 127.0.0.1 -p {code} -m pipeline.definitions --location-name tracemill",
    "web": "dagster_webserver -h 127.0.0.1 -p {web} -w workspace.yaml",
    "daemon": "dagster._daemon run -w workspace.yaml",
}
ON_THE_WAY = """
import os, signal, sys, time

def look(event, arguments):
    if event != "os.rename" or not str(arguments[1]).endswith("/manifest.json"):
        return
    *_, batch, _ = str(arguments[1]).split("/")
    marker = os.path.join(os.environ["DRILL"], batch)
    try:
        asset, what = open(marker).read().split()
    except OSError:
        return
    if not str(arguments[1]).endswith(f"/{asset}/{batch}/manifest.json"):
        return
    if what == "die":
        os.unlink(marker)
        os.kill(os.getpid(), signal.SIGKILL)
    open(marker + ".held", "w").close()
    while os.path.exists(marker):
        time.sleep(0.05)

sys.addaudithook(look)
"""


class Instance:
    """A project, and the three processes of a Dagster instance for it: code server, webserver, daemon."""

    def __init__(self, project: Project, drill: Path):
        self.project, self.drill, self.store = project, drill, Store(project.data)
        self.code, self.web = (free_port() for _ in range(2))
        home = dagster_home(project)
        told = yaml.safe_load((home / "dagster.yaml").read_text())
        told["run_monitoring"] |= {"poll_interval_seconds": 2, "free_slots_after_run_end_seconds": 1}
        told["run_queue"]["dequeue_interval_seconds"] = 1
        told["concurrency"] = {"runs": {"max_concurrent_runs": 3}, "pools": {"default_limit": 1}}
        (home / "dagster.yaml").write_text(yaml.safe_dump(told))
        server = {"host": "127.0.0.1", "port": self.code, "location_name": "tracemill"}
        (home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        (drill / "sitecustomize.py").write_text(ON_THE_WAY)
        self.home = home
        self.env = {
            **os.environ,
            "PYTHONPATH": str(drill),
            "DRILL": str(drill),
            "DAGSTER_HOME": str(home),
            "TRACEMILL_PROJECT": str(project.folder),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            words = COMMANDS[name].format(code=self.code, web=self.web).split()
            command = [sys.executable, "-m", *words]
            with (self.home / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(command, cwd=self.home, env=self.env, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    @property
    def dagster(self) -> DagsterGraphQLClient:
        return DagsterGraphQLClient("127.0.0.1", port_number=self.web)

    def launch(self, batch: str, asset: str, what: str) -> str:
        """A run of `produce` that dies, or is held, when it has made an asset of the batch."""
        (self.drill / batch).write_text(f"{asset} {what}")
        return until(lambda: self.accepted(batch), f"a run of {batch} is accepted")

    def accepted(self, batch: str) -> str | None:
        with suppress(DagsterGraphQLClientError, OSError):
            return self.dagster.submit_job_execution("produce", tags={"dagster/partition": batch})
        return None

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.home.glob("*.log")))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} seconds: {what}"
        time.sleep(0.2)
    return found


def batch_of(asset: str) -> str:
    return f"dies_in_{asset.replace('/', '_')}"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    project = create_demo(tmp_path_factory.mktemp("crashes") / "project")
    lines = (project.prompts / "pi_tasks.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    for batch in (*map(batch_of, STAGES), "held", "waits"):
        told = [{**json.loads(line), "prompt": f"{batch} {number}"} for number, line in enumerate(lines)]
        (project.prompts / f"{batch}.jsonl").write_text("\n".join(map(json.dumps, told)))
    drill = tmp_path_factory.mktemp("drill")
    running = Instance(project, drill)
    running.start("code", "web", "daemon")
    try:
        yield running
    finally:
        print(running.logs())
        for marker in filter(Path.is_file, drill.iterdir()):
            marker.unlink()
        for process in running.processes.values():
            process.terminate()
        for process in running.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


@pytest.fixture(scope="module")
def events(instance: Instance) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(instance.home)) as found:
        found.add_dynamic_partitions(str(BATCHES.name), list(instance.project.batch_files()))
        yield found


def runs_of(events: dg.DagsterInstance, batch: str) -> list[dg.DagsterRun]:
    """Every run of a batch, the first one first."""
    return events.get_runs(dg.RunsFilter(tags={"dagster/partition": batch}))[::-1]


def materialized(events: dg.DagsterInstance, batch: str) -> Counter[str]:
    """How often each asset of a batch was made."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    made = [
        entry.dagster_event for run in runs_of(events, batch) for entry in events.all_logs(run.run_id, of_type=kind)
    ]
    return Counter(event.asset_key.to_user_string() for event in made if event and event.asset_key)


def test_a_worker_killed_in_any_stage_is_followed_by_one_that_ends_its_work(
    instance: Instance, events: dg.DagsterInstance
):
    first = {asset: instance.launch(batch_of(asset), asset, "die") for asset in STAGES}
    for asset, run in first.items():
        batch = batch_of(asset)
        until(lambda run=run: status(events, run) is DagsterRunStatus.FAILURE, f"{batch} fails")
        until(lambda batch=batch: instance.store.manifest("publication", batch), f"{batch} is done again")
        until(lambda batch=batch: runs_of(events, batch)[-1].status is DagsterRunStatus.SUCCESS, f"{batch} succeeds")
    for asset in STAGES:
        batch = batch_of(asset)
        assert [run.status for run in runs_of(events, batch)] == [DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS]
        once = dict.fromkeys(upstream(instance.project), 1)
        assert materialized(events, batch) == once, f"{asset}: something was made, and paid for, twice"
        assert not (instance.drill / batch).exists(), f"nothing died in {asset}"
    behind = stale(instance.project, instance.store)
    assert not [one for one in behind if one.batch in set(map(batch_of, STAGES))]
    assert not list(instance.store.folder.rglob(".new-*")), "what the dead left was swept"
    until(lambda: slots(events) == 0, "no slot of the pool is kept by the dead")


def test_a_run_goes_on_when_code_server_and_daemon_are_killed(instance: Instance, events: dg.DagsterInstance):
    run = instance.launch("held", "conversations", "hold")
    held = instance.drill / "held.held"
    until(held.exists, "the run is on its way")
    for name in ("code", "daemon"):
        instance.kill(name)
    (instance.drill / "held").unlink()
    until(lambda: status(events, run) is DagsterRunStatus.SUCCESS, "the run ends")
    instance.start("code", "daemon")
    assert [run.status for run in runs_of(events, "held")] == [DagsterRunStatus.SUCCESS]
    assert slots(events) == 0


def test_a_run_whose_turn_comes_before_the_code_server_is_back_waits_for_it(
    instance: Instance, events: dg.DagsterInstance
):
    instance.kill("daemon")
    run = instance.launch("waits", "nothing", "hold")
    instance.kill("code")
    instance.start("daemon")
    enqueued = dg.DagsterEventType.PIPELINE_ENQUEUED
    until(lambda: len(events.all_logs(run, of_type=enqueued)) > 1, "the run is put back into the queue")
    instance.start("code")
    until(lambda: status(events, run) is DagsterRunStatus.SUCCESS, "the run ends")
    assert [run.status for run in runs_of(events, "waits")] == [DagsterRunStatus.SUCCESS]


def status(events: dg.DagsterInstance, run: str) -> DagsterRunStatus | None:
    found = events.get_run_by_id(run)
    return found and found.status


def slots(events: dg.DagsterInstance) -> int:
    """Taken, of all pools."""
    store = events.event_log_storage
    return sum(store.get_concurrency_info(pool).active_slot_count for pool in store.get_concurrency_keys())
