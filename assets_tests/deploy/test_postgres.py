"""The project on a real PostgreSQL without Docker: two processes materialize two batches at once."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import yaml

from pipeline.partitions import BATCHES
from pipeline.projects import create_demo, dagster_home
from pipeline.resources.store import Store
from pipeline.staleness import stale, upstream

DEPLOYED = Path(__file__).parents[2] / "deploy" / "dagster.yaml"


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
