"""Rendering by a Ray cluster of two workers gives what rendering in one process gives."""

import os
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import pytest

from pipeline import scaling
from pipeline.errors import SettingsError
from pipeline.loading import load_renderer
from pipeline.records import Conversation
from pipeline.resources.store import Store
from pipeline.targets import Project

ROOT = Path(__file__).parents[2]
CLUSTER = """
import sys
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from pipeline import scaling
from pipeline.records import Conversation
from pipeline.loading import load_renderer
from pipeline.resources.store import Store
from pipeline.targets import load_project

project = load_project(Path(sys.argv[1]))
store = Store(project.data)
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
ray.init(address=cluster.address, log_to_driver=False, logging_level="warning")
assert ray.cluster_resources()["CPU"] == 2
scaling.SHARD = 3
for name, target in project.targets.items():
    for batch in store.batches("conversations"):
        asset = f"rendered/{name}"
        here = store.known(asset, batch)
        file = store.file("conversations", batch, "rows_file")
        assert len(scaling.shards_of(file, scaling.SHARD)) > 2
        renderer = load_renderer(target, folder=project.folder)
        rows = scaling.ENGINES["ray"](store, batch, renderer, target, project.folder)
        read = store.known("conversations", batch).rows
        there = store.write(asset, batch, rows, code_version=here.code_version, rows_in=read)
        assert (there.data_version, there.rows_file, there.rejects) == (here.data_version, here.rows_file, here.rejects)
        print(asset, batch, there.rows, there.data_version, flush=True)
ray.shutdown()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def python_with_ray() -> Path:
    """The interpreter of an environment with the extra `scale`, made once for a lock."""
    uv = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
    if not Path(uv).exists():
        pytest.skip("no uv to make an environment with Ray")
    key = blake2b((ROOT / "uv.lock").read_bytes(), digest_size=6).hexdigest()
    place = Path.home() / ".cache" / "tracemill-tests" / f"ray-{key}"
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    command = [uv, "sync", "--frozen", "--quiet", "--no-dev", "--no-install-project", "--extra", "scale"]
    done = subprocess.run(
        [*command, "--python", sys.executable],
        cwd=ROOT,
        env={**env, "UV_PROJECT_ENVIRONMENT": str(place)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        pytest.skip(f"Ray cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return place / "bin" / "python"


def test_a_cluster_of_two_workers_gives_the_same_rows_and_hashes(made: Project, python_with_ray: Path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [python_with_ray, "-c", CLUSTER, made.folder], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(done.stdout.splitlines()) == 2 * len(made.targets)


def test_shards_cover_every_row_once(made: Project, store: Store):
    file = store.file("conversations", "pi_tasks", "rows_file")
    shards = scaling.shards_of(file, 3)
    known = store.known("conversations", "pi_tasks").rows
    assert sum(shard["stop"] - shard["start"] for shard in shards) == known
    target = next(iter(made.targets.values()))
    worker = scaling.Worker(file, target, made.folder)
    renderer = load_renderer(target, folder=made.folder)
    told = [row.id for shard in shards for row in worker.render(**shard)]
    rows = scaling.render_here(store, "pi_tasks", renderer, target, made.folder)
    assert told == [row.id for row in rows]
    assert len({row.id for row in store.read("conversations", "pi_tasks", Conversation)}) == known


def test_without_ray_the_engine_says_what_to_install(made: Project, store: Store):
    if "ray" in sys.modules or any((Path(path) / "ray").is_dir() for path in sys.path):
        pytest.skip("Ray is installed here")
    target = next(iter(made.targets.values()))
    renderer = load_renderer(target, folder=made.folder)
    with pytest.raises(SettingsError, match=r"engine: ray: .*tracemill\[scale\]"):
        next(iter(scaling.render_with_ray(store, "pi_tasks", renderer, target, made.folder)))
