"""The project on a real PostgreSQL without Docker: two processes materialize two batches at once."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipeline.partitions import BATCHES
from pipeline.projects import create_demo, dagster_home
from pipeline.resources.store import Store
from pipeline.staleness import stale, upstream

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
DEPLOYED = Path(__file__).parents[2] / "deploy" / "dagster.yaml"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[dict[str, object]]:
    """A server of its own on a free port of this machine: what Dagster is told of it."""
    if PROGRAMS is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    data, user = Path("/tmp") / f"tracemill-postgres-{os.getpid()}", {}
    data.mkdir(mode=0o700)
    if os.getuid() == 0:  # PostgreSQL refuses root
        shutil.chown(data, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": ()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = [PROGRAMS / "initdb", "-D", data, "-U", "dagster", "-A", "trust", "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, cwd="/", **user)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    control = [PROGRAMS / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options]
    subprocess.run([*control, "start"], check=True, capture_output=True, cwd="/", **user)
    try:
        yield {"hostname": "127.0.0.1", "port": port, "username": "dagster", "password": "", "db_name": "postgres"}
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/", **user)
        shutil.rmtree(data)


def test_two_processes_materialize_two_batches_on_one_database(database, tmp_path: Path):
    project = create_demo(tmp_path / "demo")
    asked = yaml.safe_load(DEPLOYED.read_text(encoding="utf-8"))["storage"]["postgres"]["postgres_db"]
    told = {"storage": {"postgres": {"postgres_db": {"scheme": asked["scheme"], **database}}}}
    home = dagster_home(project)
    (home / "dagster.yaml").write_text(yaml.safe_dump({**told, "telemetry": {"enabled": False}}))
    batches = list(project.batch_files())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), batches)
        command = [sys.executable, "-m", "pipeline.cli", "materialize", "-p", str(project.folder)]
        runs = [
            subprocess.Popen([*command, batch], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for batch in batches
        ]
        for run in runs:
            said = run.communicate(timeout=240)[0]
            assert run.returncode == 0, said.decode()
        keys = [dg.AssetKey(asset.split("/")) for asset in upstream(project)]
        assert all(instance.get_materialized_partitions(key) == set(batches) for key in keys)
    assert not list(home.rglob("*.db")), "nothing went to SQLite"
    assert not stale(project, Store(project.data))
