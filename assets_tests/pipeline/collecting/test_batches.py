"""Prompts asked through OpenAI's Batch API: half the price, and nothing is submitted twice, whoever is killed when."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from assets_tests.recording.batches import BatchModel
from assets_tests.recording.model import Reply
from pipeline.errors import EndpointRefused
from pipeline.records import Reject, Trace
from pipeline.resources.batches import Submitted

RUN = Path(__file__).with_name("collecting_run.py")
APIS = ("responses", "chat")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Nobody waits for long here."""
    monkeypatch.setattr("pipeline.resources.endpoint.LONGEST_WAIT", 0.05)
    monkeypatch.setattr("pipeline.resources.batches.QUIET", 0.2)
    monkeypatch.setattr("pipeline.resources.batches.POLLS", (0.02, 0.1))


def hello(request) -> Reply:
    return Reply(text="Hi.", tokens=70)


@pytest.mark.parametrize("api", APIS)
def test_prompts_are_asked_together_a_batch_a_turn(bench, task, api):
    asked = [task(f"task {n}", system="Be brief.", follow_up_prompts=("And?",)) for n in range(20)]
    with BatchModel(hello) as model:
        rows = bench.run(asked, model.url, api=api, batch=True)
    assert [row.prompt for row in rows] == [one.prompt for one in asked]
    assert all(isinstance(row, Trace) and row.status == "complete" and len(row.exchanges) == 2 for row in rows)
    assert len(model.batches) == 2
    assert [line["body"] for line in model.submitted()] == model.requests
    messages = json.loads(rows[3].files[0].data)["messages"]
    assert [one["content"] for one in messages] == ["Be brief.", "task 3", "Hi.", "And?", "Hi."]
    assert [exchange.batch for exchange in rows[3].exchanges] == ["batch_0", "batch_1"]
    assert rows[3].usage.input == 140
    assert rows[3].cost_usd == pytest.approx((140 * 1.25e-6 + rows[3].usage.output * 10e-6) / 2), "half the price"


def test_a_batch_is_of_one_model(bench, task):
    with BatchModel(hello) as model:
        bench.run([task(str(n), model=f"gpt-5{'-mini' * (n % 2)}") for n in range(6)], model.url, batch=True)
    assert sorted(Counter(line["body"]["model"] for line in model.submitted()).values()) == [3, 3]
    assert len(model.batches) == 2


def test_a_batch_is_never_too_large(bench, task, monkeypatch):
    monkeypatch.setattr("pipeline.resources.batches.MOST_REQUESTS", 3)
    with BatchModel(hello) as model:
        bench.run([task(str(n)) for n in range(7)], model.url, batch=True)
    assert sorted(len(model.files[one["input_file_id"]].splitlines()) for one in model.batches.values()) == [1, 3, 3]


def test_what_fails_for_now_is_asked_in_another_batch_and_spoils_no_other(bench, task):
    seen = Counter()

    def answer(request):
        said = json.dumps(request)
        seen[said] += 1
        if "busy" in said and seen[said] == 1:
            return Reply(status=429)
        return Reply(status=400) if "bad" in said else hello(request)

    with BatchModel(answer) as model:
        rows = bench.run([task("busy"), task("bad"), task("good")], model.url, batch=True)
    assert [type(row) for row in rows] == [Trace, Reject, Trace]
    assert (rows[0].exchanges[0].attempts, rows[1].reason, len(model.batches)) == (2, "no_answer", 2)
    assert sorted(seen.values()) == [1, 1, 2]


def test_what_a_batch_had_no_time_for_goes_into_the_next(bench, task):
    with BatchModel(hello, fate=lambda number: "completed" if number else "expired") as model:
        rows = bench.run([task(str(n)) for n in range(5)], model.url, batch=True)
    assert [row.status for row in rows] == ["complete"] * 5
    assert len(model.requests) == 5, "what it had time for is kept"
    assert len(model.batches) == 2


def test_a_batch_that_is_refused_says_why(bench, task):
    with BatchModel(hello, fate=lambda number: "failed") as model:
        rows = bench.run([task("a"), task("b")], model.url, batch=True)
    assert all(isinstance(row, Reject) and "no such model" in row.detail for row in rows)
    assert len(model.batches) == 1


def test_a_batch_whose_answer_is_lost_is_found_again(bench, task):
    with BatchModel(hello, forgetful=1) as model:
        rows = bench.run([task("a"), task("b")], model.url, batch=True)
    assert [row.status for row in rows] == ["complete"] * 2
    assert len(model.batches) == 1


@pytest.mark.parametrize("begun", [False, True])
def test_nobody_there_is_told_with_the_address_and_spoils_no_journal(bench, task, begun):
    if begun:
        bench.journal.write("batches/0/k", msgspec.msgpack.encode(Submitted("k", ("x",))))
    (reject,) = bench.run([task()], "http://127.0.0.1:9/v1", batch=True, endpoint={"attempts": 1})
    assert (reject.reason, "127.0.0.1:9" in reject.detail) == ("no_answer", True)
    assert bool(list(bench.journal.names("batches"))) == begun


def test_a_wrong_key_stops_at_once_and_names_the_cure(bench, task):
    with BatchModel(hello) as model:
        model.unauthorized = True
        with pytest.raises(EndpointRefused, match="401: TEST_KEY is not accepted; set it"):
            bench.run([task("a"), task("b")], model.url, batch=True)
    assert model.batches == {}


def test_agents_that_cannot_wait_are_refused(bench, task):
    with BatchModel(hello) as model:
        (row,) = bench.run([task(agent="codex")], model.url, batch=True)
    assert (row.reason, model.batches) == ("unsupported", {})


@pytest.mark.parametrize("told", [{"agent": "codex"}, {"api": "messages"}])
def test_settings_that_no_batch_can_keep_are_refused(bench, told):
    with pytest.raises(ValueError, match="batch: agent chat alone"):
        bench.settings("http://127.0.0.1:9/v1", batch=True, **told)


def test_a_budget_is_set_aside_before_and_never_passed(bench, task):
    asked = [task(str(n)) for n in range(30)]
    with BatchModel(hello) as model:
        limits = {"max_tokens": 1500, "max_answer": 100}
        rows = bench.run(asked, model.url, batch=True, limits=limits)
        traces = [row for row in rows if isinstance(row, Trace)]
        assert sum(one.usage.input + one.usage.output for one in traces) <= 1500
        assert len(traces) >= 10, "and it is used"
        assert {row.reason for row in rows if isinstance(row, Reject)} <= {"budget", "no_answer"}
        assert all(line["body"]["max_output_tokens"] == 100 for line in model.submitted())
        assert all(isinstance(row, Trace) for row in bench.run(asked, model.url, batch=True))
    assert len(model.requests) == 30 == len({line["custom_id"] for line in model.submitted()})


def test_a_batch_of_a_run_that_was_killed_while_it_created_it_is_found_by_its_key(bench, task):
    with BatchModel(hello) as model:
        bench.run([task("a"), task("b")], model.url, batch=True)
        (name,) = bench.journal.names("batches")
        noted = msgspec.msgpack.decode(bench.journal.read(name), type=Submitted)
        for folder in ("paid", "done"):
            for one in list(bench.journal.names(folder)):
                (bench.journal.folder / one).unlink()
        bench.journal.write(name, msgspec.msgpack.encode(Submitted(noted.key, noted.names)))
        bench.journal.write("batches/0/never", msgspec.msgpack.encode(Submitted("never", ("c",))))
        rows = bench.run([task("a"), task("b"), task("c")], model.url, batch=True)
        assert [row.status for row in rows] == ["complete"] * 3
        assert len(model.requests) == 3
    assert [line["body"]["input"][0]["content"] for line in model.submitted()] == ["a", "b", "c"]


def test_whenever_a_run_is_killed_nothing_is_submitted_twice(bench, task, examples):
    asked = [task(f"task {n}", follow_up_prompts=("more", "and more")) for n in range(12)]
    rng, kills = random.Random(11), 0
    with BatchModel(hello, looks=3) as model:
        settings = bench.settings(model.url, batch=True).model_dump_json()
        command = [sys.executable, str(RUN), settings, str(bench.folder), msgspec.json.encode(asked).decode()]
        while kills < max(4, examples // 6):
            process = subprocess.Popen(command)
            seen = (len(model.files), sum(model.seen.values()))
            while (len(model.files), sum(model.seen.values())) == seen and process.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 1.5))
            process.kill()
            if process.wait() == 0:
                break
            kills += 1
        rows = bench.run(asked, model.url, batch=True)
    assert [row.prompt for row in rows] == [one.prompt for one in asked]
    assert all(row.status == "complete" and len(row.exchanges) == 3 for row in rows)
    names = Counter(line["custom_id"] for line in model.submitted())
    assert (len(names), set(names.values())) == (36, {1})
    assert len(model.requests) == 36
    assert kills >= 3
