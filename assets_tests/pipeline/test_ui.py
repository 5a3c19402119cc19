"""The Dagster UI by click: what a person does with a new project.

`dagster dev` serves a project that nothing was made of; its sensor finds the batches, one of them is materialized, and
the pages show what came of it.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from pipeline.auditing.summary import SUMMARY, Summary
from pipeline.definitions import GROUPS
from pipeline.projects import create_demo, dagster_home
from pipeline.resources.store import Store
from pipeline.staleness import upstream
from pipeline.targets import Project

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60
"""Seconds: a loaded machine is slow, not broken."""
KNOWS = """async ([asset, batch]) => {
    const query = `{ assetNodeOrError(assetKey: {path: ["${asset}"]}) { ... on AssetNode { partitionKeys } } }`;
    const headers = {"Content-Type": "application/json"};
    const answer = await fetch("/graphql", {method: "POST", headers, body: JSON.stringify({query})});
    return (await answer.json()).data.assetNodeOrError.partitionKeys.includes(batch);
}"""
DRAWN = "image => image.complete && image.naturalWidth > 0"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return create_demo(tmp_path / "demo")


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    """Where `dagster dev` serves the project; all of its processes end with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "DAGSTER_HOME": str(dagster_home(project)), "TRACEMILL_PROJECT": str(project.folder)}
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)]
    log = project.folder / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/server_info", server))
        yield f"http://127.0.0.1:{port}"
    finally:
        print(log.read_text(errors="replace")[-4000:])
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=address, viewport={"width": 1600, "height": 1200})
        page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        yield page
        browser.close()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "the server has ended"
    with suppress(OSError), urlopen(url, timeout=5):
        return True
    return False


def test_a_batch_is_found_materialized_and_shown(project: Project, page: Page):
    assets = list(upstream(project))
    page.goto("/asset-groups")
    for group in {GROUPS[asset.partition("/")[0]] for asset in assets}:
        page.get_by_role("button", name=f"asset_group {group}").locator("xpath=preceding::button[1]").click()
    for name, times in Counter(asset.rpartition("/")[2] for asset in assets).items():
        expect(page.get_by_role("button", name=f"{name} {name}")).to_have_count(times)

    page.wait_for_function(KNOWS, arg=["prompts", "pi_tasks"], polling=200)
    shutil.copyfile(project.prompts / "pi_tasks.jsonl", project.prompts / "dropped.jsonl")
    materialize(page, "produce", "pi_tasks")

    store = Store(project.data)
    assert all(store.known(asset, "pi_tasks").rows for asset in assets if not asset.startswith("audits/"))
    assert not any(store.manifest(asset, "codex_tasks") for asset in assets), "nobody asked for the other batch"
    for target in project.targets:
        summary = store.place(f"audits/{target}", "pi_tasks") / SUMMARY
        assert msgspec.json.decode(summary.read_bytes(), type=Summary).passed

    page.goto("/assets/audits/qwen3?view=partitions&partition=pi_tasks")
    expect(page.get_by_text("Materialized", exact=True).first).to_be_visible()
    rows = page.locator("tr", has_text="dagster/row_count").first
    expect(rows).to_contain_text(str(store.known("audits/qwen3", "pi_tasks").rows))
    mask = page.get_by_alt_text("trained tokens").first
    mask.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, arg=mask.element_handle())

    page.wait_for_function(KNOWS, arg=["prompts", "dropped"], polling=200)


def materialize(page: Page, job: str, batch: str) -> None:
    """One run of a job for one batch, by click, to its end."""
    page.goto(f"/locations/tracemill/jobs/{job}")
    page.get_by_role("button", name="Materialize all…").click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    dialog.get_by_text("Select a partition or create one").click()
    page.get_by_placeholder("Filter partitions").fill(batch)
    page.get_by_text(batch, exact=True).locator("visible=true").last.click()
    page.keyboard.press("Escape")
    dialog.get_by_role("button", name=re.compile("Launch 1 run")).click()
    told = page.get_by_text(re.compile("Launched run")).first.inner_text()
    run = page.locator(f'a[href^="/runs/{told.split()[-1]}"]').first.get_attribute("href")
    page.goto(str(run))
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
