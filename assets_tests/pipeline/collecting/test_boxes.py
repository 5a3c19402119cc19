"""What becomes of the boxes that real agents work in: shut, ended by what runs in them, swept after a kill."""

import json
import subprocess
import sys
import time
from pathlib import Path

import docker
import msgspec
import pytest

from assets_tests.recording.model import Reply
from pipeline.records import Reject
from pipeline.resources.containers import LABEL
from pipeline.resources.sites import Sites

RUN = Path(__file__).with_name("collecting_run.py")
APIS = {"codex": "responses", "pi": "responses", "claude-code": "messages"}


def test_a_container_is_shut_as_far_as_it_goes(bench, place, task):
    if place.kind != "docker":
        pytest.skip("no Docker engine here")
    seen = []

    def answer(request):
        found = docker.from_env().containers.list(filters={"label": LABEL}, ignore_removed=True)
        seen.extend(one.attrs for one in found)
        return Reply(text="Hi.")

    with bench.model(answer) as model:
        bench.run([task(agent="codex")], model.url, sandbox=place.sandbox)
    held, config = seen[0]["HostConfig"], seen[0]["Config"]
    assert (held["NetworkMode"], held["ReadonlyRootfs"], held["Init"]) == ("none", True, True)
    assert (held["CapDrop"], held["SecurityOpt"], held["Privileged"]) == (["ALL"], ["no-new-privileges"], False)
    assert (held["Memory"], held["NanoCpus"], held["PidsLimit"]) == (4 << 30, 2_000_000_000, 512)
    assert held["MemorySwap"] == held["Memory"]
    assert config["User"].split(":")[0] != "0"
    assert not any("sk-secret" in one for one in config["Env"])
    mounts = {mount["Destination"]: mount["RW"] for mount in seen[0]["Mounts"]}
    assert mounts == {"/home/agent": True, "/work": True, "/run/tracemill": False}


def test_a_run_that_ends_its_container_or_lays_links_spoils_no_other(bench, place, task):
    """What is in the box is the agent's: it may kill what keeps the box up, and point its session elsewhere."""
    if place.kind != "docker":
        pytest.skip("no container can be ended: no Docker engine here")
    link = "ln -s /etc/passwd $CODEX_HOME/sessions/linked.jsonl; ln -s /etc $CODEX_HOME/sessions/linked"

    def answer(request):
        if '"function_call_output"' in json.dumps(request):
            return Reply(text="Done.")
        end = "sleep 1; pkill -9 node; sleep 30" if "END-IT" in json.dumps(request) else link
        return Reply(calls=({"exec_command": {"cmd": end, "yield_time_ms": 30_000}},))

    asked = [task(words, agent="codex", follow_up_prompts=("And?",)) for words in ("END-IT", "Link.")]
    with bench.model(answer) as model:
        ended, linked = bench.run(asked, model.url, sandbox=place.sandbox)
    assert ended.reason == "no_container" if isinstance(ended, Reject) else ended.status == "killed"
    assert (linked.status, len(linked.files)) == ("complete", 1)
    assert b"root:" not in msgspec.msgpack.encode(linked)
    assert place.leftovers() == 0


@pytest.mark.parametrize("agent", APIS)
def test_a_killed_run_pays_for_no_answer_again(bench, place, task, agent):
    """Agents call their session anew in each request; the journal knows the request all the same."""
    if place.kind != "docker":
        pytest.skip("on the host an agent works in another folder each time, and tells the model its name")
    asked = [task(agent=agent, follow_up_prompts=("And?", "More?"))]
    delays = iter((0, 0, 600))
    with bench.model(lambda request: Reply(text="Hi.", delay=next(delays, 0))) as model:
        settings = bench.settings(model.url, sandbox=place.sandbox, api=APIS[agent])
        process = started(settings, bench, asked)
        deadline = time.monotonic() + 120
        while len(model.requests) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
        (row,) = bench.run(asked, model.url, sandbox=place.sandbox, api=APIS[agent])
    assert (row.status, len(row.exchanges), row.usage.input) == ("complete", 3, 3000)
    assert len(model.requests) == 4, "only what was under way is asked again"
    assert place.leftovers() == 0


def started(settings, bench, asked) -> subprocess.Popen:
    """A process of its own that runs these prompts, to be killed."""
    words = [settings.model_dump_json(), str(bench.folder), msgspec.json.encode(asked).decode()]
    return subprocess.Popen([sys.executable, str(RUN), *words])


def test_what_a_killed_run_leaves_is_swept_at_the_next_start(bench, place, task):
    asked = [task(agent="codex")]
    with bench.model(lambda request: Reply(text="Hi.", delay=30)) as model:
        settings = bench.settings(model.url, sandbox=place.sandbox)
        process = started(settings, bench, asked)
        deadline = time.monotonic() + 90
        while not model.requests and time.monotonic() < deadline:
            time.sleep(0.05)
        names = {one.name for one in place.containers()}
        process.kill()
        process.wait()
        time.sleep(0.2)
        assert bool(names) == (place.kind == "docker")
    with Sites(settings).open(bench.journal, 0) as site:
        assert site.name.startswith(place.kind), "asks the engine"
        assert place.leftovers() == 0
