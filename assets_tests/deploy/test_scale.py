"""How an instance of many partitions answers. `make bench-scale` asks for thousands, as docs/operating.md tells.

One batch is made by a real run on PostgreSQL; its run, events and files are then cloned, under the names of others.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db
import yaml
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

from pipeline.partitions import BATCHES
from pipeline.projects import create_demo, dagster_home
from pipeline.resources.store import Store
from pipeline.staleness import stale, upstream
from pipeline.targets import Project

MADE = "pi_tasks"
PAGE_OF_OPERATORS = Path(__file__).parents[2] / "docs" / "operating.md"
PAGE = """{ assetNodeOrError(assetKey: {path: ["publication"]}) { ... on AssetNode {
  partitionKeys
  partitionStats { numMaterialized numFailed }
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions } } } } }"""
LINEAGE = "{ assetNodes { assetKey { path } partitionStats { numMaterialized } } }"
BACKFILL = """mutation($batches: [String!], $assets: [AssetKeyInput!]) { launchPartitionBackfill(
  backfillParams: {partitionNames: $batches, assetSelection: $assets}) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
CLONED: Mapping[str, tuple[str, ...]] = {
    "runs": ("run_id", "run_body", "partition"),
    "run_tags": ("run_id", "value"),
    "event_logs": ("run_id", "event", "partition"),
    "asset_event_tags": ("value",),
    "asset_check_executions": ("run_id", "evaluation_event", "partition"),
}
"""The tables of an instance that grow with runs, and where the names of a run and its batch stand in them."""
IDS = ("id", "event_id", "evaluation_event_storage_id", "materialization_event_storage_id")
"""Columns of numbers: each clone has a range of its own."""
NAME = "'batch-' || lpad(n::text, 5, '0')"


@pytest.fixture
def project(tmp_path: Path, database: dict[str, object]) -> Project:
    """The demo on a PostgreSQL of its own, one batch of it made."""
    project = create_demo(tmp_path / "demo")
    told = yaml.safe_load((dagster_home(project) / "dagster.yaml").read_text(encoding="utf-8"))
    told["storage"] = {"postgres": {"postgres_db": {"scheme": "postgresql+psycopg2", **database}}}
    told["concurrency"] = {"runs": {"max_concurrent_runs": 0}}  # what is submitted is counted, not run
    (dagster_home(project) / "dagster.yaml").write_text(yaml.safe_dump(told))
    (project.prompts / "codex_tasks.jsonl").unlink()
    tracemill(project, "materialize", MADE)
    return project


def tracemill(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *words, "--project", str(project.folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check="stale" not in words)


def clone_events(project: Project, many: int) -> None:
    """The run's rows in every table, `many` times, as runs of other batches."""
    with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
        (run,) = instance.get_runs()
        address = instance.event_log_storage.postgres_url  # pyright: ignore[reportAttributeAccessIssue]
        instance.add_dynamic_partitions(str(BATCHES.name), [MADE, *batches(many)])
    with db.create_engine(address).begin() as connection:
        tables = db.MetaData()
        tables.reflect(connection, only=list(CLONED))
        span = connection.scalar(db.text("SELECT max(id) FROM event_logs"))

        def cell(column: str, texts: tuple[str, ...]) -> str:
            if column in IDS:
                return f"t.{column} + n * {span}"
            renamed = f"replace(t.{column}, '{run.run_id}', md5('run' || n)::uuid::text)"
            return f"replace({renamed}, '{MADE}', {NAME})" if column in texts else f"t.{column}"

        for table, texts in CLONED.items():
            columns = list(tables.tables[table].columns.keys())
            cells = ", ".join(cell(column, texts) for column in columns)
            clones = f"SELECT {cells} FROM {table} t, generate_series(1, {many}) n"
            connection.execute(db.text(f"INSERT INTO {table} ({', '.join(columns)}) {clones}"))
            serial = f"pg_get_serial_sequence('{table}', 'id')"
            connection.execute(db.text(f"SELECT setval({serial}, (SELECT max(id) FROM {table}))"))


def clone_files(project: Project, many: int) -> None:
    """The batch's file and manifests, as those of other batches."""
    shards = list((project.folder / "dataset").rglob(f"{MADE}.parquet"))
    made = {asset: (project.data / asset / MADE / "manifest.json").read_text("utf-8") for asset in upstream(project)}
    for batch in batches(many):
        shutil.copyfile(project.prompts / f"{MADE}.jsonl", project.prompts / f"{batch}.jsonl")
        for shard in shards:
            os.link(shard, shard.with_stem(batch))
        for asset, told in made.items():
            place = project.data / asset / batch
            place.mkdir(parents=True)
            for rows in (project.data / asset / MADE).glob("rows-*"):
                os.link(rows, place / rows.name)
            (place / "manifest.json").write_text(told.replace(f'"{MADE}"', f'"{batch}"'), "utf-8")


def batches(many: int) -> list[str]:
    return [f"batch-{number:05}" for number in range(1, many + 1)]


@contextmanager
def running(project: Project, *words: str) -> Iterator[None]:
    """A program of Dagster, for the project's instance."""
    home = dagster_home(project)
    environment = {**os.environ, "DAGSTER_HOME": str(home), "TRACEMILL_PROJECT": str(project.folder)}
    with (home / "programs.log").open("ab") as log:
        command = [sys.executable, "-m", *words, "-m", "pipeline.definitions"]
        program = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        program.terminate()
        program.wait(30)


def answered(port: int) -> DagsterGraphQLClient:
    """The webserver, once it answers."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with suppress(OSError, DagsterGraphQLClientError):
            DagsterGraphQLClient("127.0.0.1", port_number=port)._execute("{ version }")
            return DagsterGraphQLClient("127.0.0.1", port_number=port, timeout=600)
        time.sleep(0.2)
    raise AssertionError("no answer")


@pytest.mark.filterwarnings("ignore:Using variable_values:DeprecationWarning")  # Dagster's own client earns it
def test_an_instance_of_many_partitions_answers(project: Project, database: dict[str, object], examples: int):
    times: dict[str, str] = {}

    def timed(what: str, asked: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = asked()
        times[what] = f"{time.perf_counter() - began:.2f} s"
        return found

    timed("seeding", lambda: (clone_events(project, examples), clone_files(project, examples)))
    with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
        size = db.create_engine(instance.event_log_storage.postgres_url)  # pyright: ignore[reportAttributeAccessIssue]
        with size.connect() as connection:
            held = connection.scalar(db.text("SELECT pg_database_size(current_database())"))
        times["database"] = f"{held / 1e6:,.0f} MB"
        assert len(instance.get_materialized_partitions(dg.AssetKey("publication"))) == examples + 1

    behind = timed("stale, in a process that has loaded the project", lambda: stale(project, Store(project.data)))
    assert not behind
    told = timed("tracemill stale", lambda: tracemill(project, "stale"))
    assert told.returncode == 0, told.stdout + told.stderr

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(project, "dagster_webserver", "-p", str(port)):
        client = answered(port)
        page = timed("partition page, first", lambda: client._execute(PAGE))["assetNodeOrError"]
        timed("partition page, again", lambda: client._execute(PAGE))
        assert page["partitionStats"]["numMaterialized"] == examples + 1
        timed("lineage page, first", lambda: client._execute(LINEAGE))
        timed("lineage page, again", lambda: client._execute(LINEAGE))
        assets = [{"path": asset.split("/")} for asset in upstream(project) if asset not in ("prompts", "traces")]
        asked = {"batches": batches(examples), "assets": assets}
        launched = timed("backfill of all, requested", lambda: client._execute(BACKFILL, asked))
        assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", launched

        with running(project, "dagster._daemon", "run"):
            times["backfill, runs submitted a second"] = f"{submitted(client, max(5, examples // 20)):.1f}"
    times["events, and those that pruning leaves"] = " → ".join(map(str, pruned(project, examples)))
    print(f"\n{examples} partitions of {len(upstream(project))} assets, PostgreSQL")
    print("\n".join(f"| {what} | {took} |" for what, took in times.items()))


def pruned(project: Project, examples: int) -> tuple[int, int]:
    """How many events there are before and after what the page tells to delete, which un-materializes nothing."""
    (told,) = re.findall(r"```sql\n(DELETE.*?);", PAGE_OF_OPERATORS.read_text(encoding="utf-8"), re.DOTALL)
    keys = [dg.AssetKey(asset.split("/")) for asset in upstream(project)]
    with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
        address = instance.event_log_storage.postgres_url  # pyright: ignore[reportAttributeAccessIssue]
        with db.create_engine(address).begin() as connection:
            before = connection.scalar(db.text("SELECT count(*) FROM event_logs"))
            connection.execute(db.text(told.replace("90 days", "0 days")))
            after = connection.scalar(db.text("SELECT count(*) FROM event_logs"))
        assert all(len(instance.get_materialized_partitions(key)) == examples + 1 for key in keys)
        assert instance.get_latest_materialization_event(keys[-1])
    assert after < before
    return before, after


def submitted(client: DagsterGraphQLClient, wanted: int) -> float:
    """How many runs a second the daemon makes of a backfill: from its first ones on, for a minute at most."""
    count = "{ runsOrError(filter: {statuses: [QUEUED]}) { ... on Runs { count } } }"
    first = number = 0
    began = time.monotonic()
    end = began + 150
    while number < wanted and time.monotonic() < min(end, began + 60 if first else end):
        number = client._execute(count)["runsOrError"]["count"]
        if number and not first:
            first, began = number, time.monotonic()
        time.sleep(0.5)
    assert number, "the daemon submits nothing"
    return (number - first) / (time.monotonic() - began)
