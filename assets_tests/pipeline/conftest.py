"""The example as a project of its own, before and after it was materialized."""

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import pytest

from pipeline.definitions import definitions_of
from pipeline.partitions import BATCHES
from pipeline.resources.store import Store
from pipeline.targets import EXAMPLE, SETTINGS, Project, load_project

BATCH_NAMES = ("codex_tasks", "pi_tasks")


def copy_example(folder: Path) -> Project:
    shutil.copytree(EXAMPLE / "prompts", folder / "prompts")
    shutil.copyfile(EXAMPLE / SETTINGS, folder / SETTINGS)
    return load_project(folder)


def run(
    project: Project,
    batch: str,
    *,
    job: str = "produce",
    assets: Sequence[str] | None = None,
    raise_on_error: bool = True,
) -> dg.ExecuteInProcessResult:
    """One run of a job, of all of its assets or of some."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), [batch])
        return (
            definitions_of(project)
            .resolve_job_def(job)
            .execute_in_process(
                instance=instance,
                partition_key=batch,
                asset_selection=[dg.AssetKey(asset.split("/")) for asset in assets] if assets else None,
                raise_on_error=raise_on_error,
            )
        )


@pytest.fixture(scope="session")
def materialize() -> Callable[..., dg.ExecuteInProcessResult]:
    """(project, batch, job=, assets=, raise_on_error=) -> the run."""
    return run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The example, nothing made of it yet."""
    return copy_example(tmp_path / "project")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One worker makes it, the others wait: xdist has no session that they share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "made"
    with (shared / "made.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = copy_example(base / "making")
            for batch in BATCH_NAMES:
                run(fresh, batch)
            fresh.folder.rename(folder)
    return folder


@pytest.fixture
def made(made_once: Path, tmp_path: Path) -> Project:
    """The example, both of its batches materialized: a copy to spoil."""
    shutil.copytree(made_once, tmp_path / "made")
    return load_project(tmp_path / "made")


@pytest.fixture
def store(made: Project) -> Store:
    """The partitions of `made`."""
    return Store(made.data)
