"""The deployment on a real Docker engine: a batch through a container of its own, by GraphQL and by click.

What dies is killed as a machine kills, by signal 9 to the process: `docker kill` of a service counts as a wish.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterRunStatus
from datasets import load_dataset
from playwright.sync_api import Page, expect, sync_playwright

from pipeline.projects import create_demo
from pipeline.records import RenderedRow
from pipeline.resources.store import Store
from pipeline.staleness import upstream

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using variable_values:DeprecationWarning"  # Dagster's own client earns it
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT = 650_000_000
HERE = Path(__file__).parent


def test_the_image_is_small_and_not_root(docker, image: str):
    assert int(docker("image", "inspect", "--format", "{{.Size}}", image)) < LIMIT
    assert docker("run", "--rm", image, "id", "-u") != "0"


def test_a_batch_becomes_a_dataset_in_a_container_of_its_own(stack):
    run = stack.launched("produce", "pi_tasks")
    container = stack.container(run)
    assert stack.ended(run) is DagsterRunStatus.SUCCESS
    store = Store(stack.project.data)
    assert all(store.batches(asset) == ["pi_tasks"] for asset in upstream(stack.project))
    for target in stack.project.targets:
        assert load_dataset(str(stack.project.folder / "dataset"), target, split="train").num_rows > 0
    assert list((stack.project.folder / ".dagster" / "logs" / run).rglob("*.err"))
    stack.until(lambda: container not in stack.containers(), "the run's container is removed")


def test_a_killed_run_fails_leaves_no_half_partition_and_is_done_again(stack, docker):
    store, asset = Store(stack.project.data), "rendered/qwen3"
    run = stack.launched("produce", "many")
    container = stack.container(run)
    stack.until(lambda: list(store.place(asset, "many").glob(".new-*")), "rows are being rendered")
    docker("kill", "--signal", "KILL", container)
    assert store.manifest(asset, "many") is None
    assert stack.ended(run) is DagsterRunStatus.FAILURE

    stack.until(lambda: store.manifest("publication", "many"), "the run was launched once more")
    assert sum(1 for _ in store.read(asset, "many", RenderedRow)) == store.known(asset, "many").rows
    assert not list(store.folder.rglob(".new-*"))


def test_a_run_outlives_code_server_and_daemon_which_are_started_again(stack):
    if os.getuid() != 0:
        pytest.skip("only root kills what runs in a container")
    run = stack.launched("produce", "codex_tasks")
    stack.container(run)
    died = {service: stack.process(service) for service in ("code", "daemon")}
    for process in died.values():
        os.kill(process, signal.SIGKILL)
    assert stack.ended(run) is DagsterRunStatus.SUCCESS
    assert Store(stack.project.data).manifest("publication", "codex_tasks")
    for service, process in died.items():
        stack.until(lambda service=service, died=process: stack.process(service) not in (0, died), f"{service} is back")
    assert stack.slots() == 0


@pytest.fixture
def page(stack) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=stack.address, viewport={"width": 1600, "height": 1200})
        page.set_default_timeout(stack.patience * 1000)
        expect.set_options(timeout=stack.patience * 1000)
        yield page
        browser.close()


def test_a_batch_is_materialized_by_click(stack, page: Page):
    page.goto("/locations/tracemill/jobs/rerender")
    page.get_by_role("button", name="Materialize all…").click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    dialog.get_by_text("Select a partition or create one").click()
    page.get_by_placeholder("Filter partitions").fill("codex_tasks")
    page.get_by_text("codex_tasks", exact=True).locator("visible=true").last.click()
    page.keyboard.press("Escape")
    dialog.get_by_role("button", name=re.compile("Launch 1 run")).click()
    told = page.get_by_text(re.compile("Launched run")).first.inner_text()
    page.goto(str(page.locator(f'a[href^="/runs/{told.split()[-1]}"]').first.get_attribute("href")))
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    assert Store(stack.project.data).manifest("publication", "codex_tasks")


def test_every_step_can_have_a_container_of_its_own(stack, docker):
    stack.compose("up", "-d", "--no-build", "code", files=("compose.yaml", "steps.yaml"))
    stack.reload()
    run = stack.launched("rerender", "pi_tasks", assets=["conversations"])
    seen: set[str] = set()

    def ended() -> bool:
        seen.update(docker("ps", "--quiet", "--filter", "name=dagster-step").split())
        return stack.status(run) in stack.ENDS

    stack.until(ended, "the run ends")
    assert stack.status(run) is DagsterRunStatus.SUCCESS
    assert len(seen) == 1, "the one step had a container"


def test_the_image_runs_the_pod_that_helm_and_dagster_make_of_the_values(docker, image: str, tmp_path: Path):
    values = (HERE.parents[1] / "deploy" / "kubernetes" / "values.yaml").read_text(encoding="utf-8")
    script = (HERE / "pod_of_a_run.py").read_text(encoding="utf-8")
    project = create_demo(tmp_path / "project")
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", docker("run", "--rm", image, "id", "-u"), str(project.folder)], check=True)
    mounted = f"{project.folder}:/project"
    assert json.loads(docker("run", "--rm", "-i", "-v", mounted, image, "python", "-c", script, told=values)) == {
        "image": "registry.example.com/tracemill:0.1.0",
        "mounts": {"project": "/project"},
        "secrets": ["tracemill"],
        "claims": ["tracemill-project"],
        "account": "tracemill-dagster-user-deployments",
        "home": "/opt/dagster/dagster_home",
        "ended": [0, "SUCCESS"],
    }
    assert Store(project.data).manifest("publication", "pi_tasks")
