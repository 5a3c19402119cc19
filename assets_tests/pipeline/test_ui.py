"""The Dagster UI by click: what a person does with a new project, and after a renderer was fixed.

`dagster dev` serves a project that nothing was made of; its sensor finds the batches, one of them is materialized, and
the pages show what came of it. Then a family is fixed in a copy of our sources: its targets show as unsynced, the job
`rerender` makes them anew, and the model is not asked.
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
from playwright.sync_api import Locator, Page, expect, sync_playwright

from assets_tests.recording.model import Reply, ScriptedModel
from pipeline.auditing.summary import SUMMARY, Summary
from pipeline.definitions import GROUPS
from pipeline.projects import create_demo, dagster_home
from pipeline.resources.store import Store
from pipeline.staleness import upstream
from pipeline.targets import SETTINGS, Project

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
STALE = """async ([path, batch]) => {
    const query = `query($key: AssetKeyInput!, $batch: String!) {
        assetNodeOrError(assetKey: $key) { ... on AssetNode { staleStatus(partition: $batch) } } }`;
    const body = JSON.stringify({query, variables: {key: {path}, batch}});
    const answer = await fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"}, body});
    return (await answer.json()).data.assetNodeOrError.staleStatus;
}"""
DRAWN = "image => image.complete && image.naturalWidth > 0"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return create_demo(tmp_path / "demo")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Our sources, to be edited while they are served."""
    for package in ("pipeline", "renderers"):
        shutil.copytree(ROOT / package, tmp_path / "tree" / package)
    shutil.copy(ROOT / "workspace.yaml", tmp_path / "tree")
    return tmp_path / "tree"


def environment(project: Project, tree: Path) -> dict[str, str]:
    """In which a process works on the project with these sources."""
    own = {"DAGSTER_HOME": str(dagster_home(project)), "TRACEMILL_PROJECT": str(project.folder)}
    return {**os.environ, **own, "PYTHONPATH": str(tree)}


@pytest.fixture
def address(project: Project, tree: Path) -> Iterator[str]:
    """Where `dagster dev` serves the project; all of its processes end with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)]
    log = project.folder / "server.log"
    with log.open("wb") as out:
        env = environment(project, tree)
        server = subprocess.Popen(command, cwd=tree, env=env, stdout=out, stderr=out, start_new_session=True)
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


FAMILY, RIGHT, WRONG = "renderers/families/qwen3.py", 'after="\\n"', 'after=""'


def test_a_fixed_renderer_is_seen_and_rendered_again_without_the_model(
    project: Project, tree: Path, request: pytest.FixtureRequest
):
    store = Store(project.data)
    swap(tree / FAMILY, RIGHT, WRONG)
    with ScriptedModel(lambda request: Reply(reasoning="Two.", text="Four.")) as model:
        ask(project, model.url)
        page: Page = request.getfixturevalue("page")
        page.goto("/locations")
        page.wait_for_function(KNOWS, arg=["prompts", "sums"], polling=200)
        materialize(page, "produce", "sums")
        asked, traces = len(model.requests), store.known("traces", "sums")
        assert asked == traces.rows == 2
        assert stale_ones(page, project, "sums") == set()

        swap(tree / FAMILY, WRONG, RIGHT)
        reload(page)
        was = {asset: store.known(asset, "sums") for asset in upstream(project)}
        expect(unsynced(page, "masked/qwen3", "sums").first).to_be_visible()
        late = {asset for asset in was if asset.endswith("/qwen3")} | {"publication"}
        assert stale_ones(page, project, "sums") == late, "one family was fixed"

        materialize(page, "rerender", "sums")
        word = unsynced(page, "masked/qwen3", "sums")
        expect(page.get_by_text("2 rows changed, 0 exactly unchanged")).to_be_visible()
        expect(word).to_have_count(0)
        assert stale_ones(page, project, "sums") == set()
        assert len(model.requests) == asked, "nobody asks the model again"
    now = {asset: store.known(asset, "sums") for asset in upstream(project)}
    assert {asset for asset in was if now[asset].rows_file != was[asset].rows_file} == {
        "rendered/qwen3",
        "masked/qwen3",
        "publication",
    }
    assert now["traces"] == was["traces"]


def ask(project: Project, url: str) -> None:
    """A batch of prompts for a model, in the project."""
    (project.prompts / "sums.txt").write_text("One and three?\nTwo and two?\n")
    settings = project.folder / SETTINGS
    collect = f"collect: {{agent: chat, model: mine, endpoint: {{base_url: '{url}', key: NONE}}}}\n"
    settings.write_text(settings.read_text() + collect)


def swap(file: Path, old: str, new: str) -> None:
    told = file.read_text()
    assert told.count(old) == 1, f"{file.name} has changed: choose another edit"
    file.write_text(told.replace(old, new))


def reload(page: Page) -> None:
    """The code location, by click."""
    page.goto("/locations")
    page.get_by_role("button", name="Reload all").or_(page.get_by_role("button", name="Reload")).first.click()
    page.get_by_text(re.compile("(Code location|Definitions) reloaded")).first.wait_for()


def unsynced(page: Page, asset: str, batch: str) -> Locator:
    """The word on the page of one partition that says so."""
    page.goto(f"/assets/{asset}?view=partitions&partition={batch}")
    expect(page.get_by_text("Materialized", exact=True).first).to_be_visible()
    return page.get_by_text(re.compile("Unsynced"))


def stale_ones(page: Page, project: Project, batch: str) -> set[str]:
    """The assets that Dagster itself holds for stale, of one batch."""
    states = {asset: page.evaluate(STALE, [asset.split("/"), batch]) for asset in upstream(project)}
    assert set(states.values()) <= {"FRESH", "STALE"}, states
    return {asset for asset, told in states.items() if told == "STALE"}


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
