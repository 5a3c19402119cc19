"""After a kill at any moment, a rerun repeats no finished prompt and loses none: the server's own log says so."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from assets_tests.recording.model import Reply
from pipeline.records import Trace

RUN = Path(__file__).with_name("collecting_run.py")
CONCURRENCY = 4


def prompts_of(request) -> str:
    """Which prompt a request is of."""
    return next(one["content"] for one in request["input"] if one.get("role") == "user")


def test_a_killed_run_repeats_no_finished_prompt_and_loses_none(bench, task, examples):
    asked = [task(f"task {n}", follow_up_prompts=("more", "and more")) for n in range(24)]
    rng, kills, again = random.Random(7), 0, Counter()
    with bench.model(lambda request: Reply(text="Hi.", delay=0.03)) as model:
        settings = bench.settings(model.url, limits={"concurrency": CONCURRENCY}).model_dump_json()
        command = [sys.executable, str(RUN), settings, str(bench.folder), msgspec.json.encode(asked).decode()]
        while kills < max(4, examples // 8):
            process = subprocess.Popen(command)
            seen = len(model.requests)
            while len(model.requests) == seen and process.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 0.4))
            process.kill()
            if process.wait() == 0:
                break
            kills += 1
            time.sleep(0.1)
            done, logged = set(bench.journal.names("done/0")), len(model.requests)
            again[logged] = len(done)
            finished = {one.prompt for one in asked if f"done/0/{one.id}" in done}
            model.checks = getattr(model, "checks", [])
            model.checks.append((logged, finished))
        rows = bench.run(asked, model.url, limits={"concurrency": CONCURRENCY})
        for logged, finished in model.checks:
            repeated = {prompts_of(request) for request in model.requests[logged:]} & finished
            assert repeated == set(), "a finished prompt is never asked again"
    assert [row.prompt for row in rows] == [one.prompt for one in asked]
    assert all(isinstance(row, Trace) and row.status == "complete" and len(row.exchanges) == 3 for row in rows)
    times = Counter(json.dumps(request["input"]) for request in model.requests)
    assert len(times) == 72
    assert sum(times.values()) - 72 <= kills * CONCURRENCY, "only what was under way at a kill was sent twice"
    assert kills >= 3


def test_a_whole_partition_calls_nobody_until_a_generation_is_asked_for(bench, task):
    asked = [task(str(n)) for n in range(3)]
    with bench.model(lambda request: Reply(text="Hi.")) as model:
        first = bench.run(asked, model.url)
        bench.journal.clear()
        assert bench.run(asked, model.url, held=first) == first
        assert len(model.requests) == 3
        second = bench.run(asked, model.url, held=first, generation=1)
        assert len(model.requests) == 6
        assert [row.generation for row in second] == [1, 1, 1]
        bench.journal.clear()
        assert bench.run(asked, model.url, held=second) == second
        assert bench.run(asked, model.url, held=second, generation=1) == second
    assert len(model.requests) == 6


def test_a_prompt_that_is_new_is_run_and_the_others_stand(bench, task):
    with bench.model(lambda request: Reply(text="Hi.")) as model:
        first = bench.run([task("a"), task("b")], model.url)
        rows = bench.run([task("c"), task("b"), task("a")], model.url, held=first)
    assert [row.prompt for row in rows] == ["c", "b", "a"]
    assert len(model.requests) == 3
