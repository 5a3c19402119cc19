"""What fails on the way: tried again in one place, bounded by budgets, and never the batch's end but for a key."""

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from assets_tests.recording.model import Reply
from pipeline.collecting.spending import price_of
from pipeline.errors import EndpointRefused
from pipeline.records import Reject, Trace, Usage
from pipeline.resources.endpoint import pause
from pipeline.settings import Endpoint

APIS = ("responses", "chat", "messages")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Nobody waits for long here."""
    monkeypatch.setattr("pipeline.resources.endpoint.LONGEST_WAIT", 0.05)


@pytest.mark.parametrize("api", APIS)
def test_a_request_that_is_refused_for_now_is_tried_again_and_counted_once(bench, task, api):
    refused = [{"status": 429, "headers": {"retry-after": "0"}}, {"status": 500}]
    with bench.model(*refused, {"text": "Hi.", "tokens": 11}) as model:
        (trace,) = bench.run([task()], model.url, api=api)
    assert (trace.status, trace.usage.input, len(model.requests)) == ("complete", 11, 3)
    assert [exchange.attempts for exchange in trace.exchanges] == [3]


def test_a_server_that_stays_down_fails_its_prompt_and_no_other(bench, task):
    def answer(request):
        return Reply(status=500) if "bad" in json.dumps(request) else Reply(text="Hi.")

    with bench.model(answer) as served:
        endpoint = {"attempts": 2}
        rows = bench.run([task("good"), task("bad"), task("fine")], served.url, endpoint=endpoint)
    assert [type(row) for row in rows] == [Trace, Reject, Trace]
    assert rows[1].reason == "no_answer"
    assert len(served.requests) == 4


def test_an_outage_in_the_middle_is_an_error_that_is_run_again(bench, task):
    asked = task(follow_up_prompts=("And?",))
    with bench.model({"text": "Hi."}, {"status": 500}) as model:
        (trace,) = bench.run([asked], model.url, endpoint={"attempts": 1})
    assert (trace.status, [e.status for e in trace.exchanges]) == ("error", [200, 500])
    with bench.model({"text": "Bye."}) as model:
        (trace,) = bench.run([asked], model.url)
    assert (trace.status, len(trace.exchanges), len(model.requests)) == ("complete", 2, 1), "the first was paid for"


def test_nobody_there_is_told_with_the_address(bench, task):
    (reject,) = bench.run([task()], "http://127.0.0.1:9/v1", endpoint={"attempts": 2})
    assert (reject.reason, "127.0.0.1:9" in reject.detail) == ("no_answer", True)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_stops_the_batch_at_once_and_names_the_cure(bench, task, status):
    with (
        bench.model(*({"status": status} for _ in range(9))) as model,
        pytest.raises(EndpointRefused, match=f"{status}: TEST_KEY is not accepted; set it"),
    ):
        bench.run([task(str(n)) for n in range(9)], model.url, limits={"concurrency": 1})
    assert len(model.requests) == 1


def test_a_token_budget_is_never_passed(bench, task):
    asked = [task(str(n)) for n in range(40)]
    with bench.model(lambda request: Reply(text="Hi." * 20, tokens=60)) as model:
        rows = bench.run(asked, model.url, limits={"max_tokens": 2500, "max_answer": 300, "concurrency": 4})
        traces = [row for row in rows if isinstance(row, Trace)]
        assert sum(one.usage.input + one.usage.output for one in traces) <= 2500
        assert len(traces) >= 15, "and it is used"
        assert {row.reason for row in rows if isinstance(row, Reject)} <= {"budget", "no_answer"}
        assert all(request["max_output_tokens"] == 300 for request in model.requests), "an answer has its cap too"
        before = len(model.requests)
        rows = bench.run(asked, model.url)
        assert all(isinstance(row, Trace) for row in rows), "a rerun goes on from there"
        assert len(model.requests) == 40 + (before - len(traces))


def test_a_budget_in_dollars_is_never_passed(bench, task):
    with bench.model(lambda request: Reply(text="Hi.", tokens=50)) as model:
        limits = {"max_usd": 0.01, "max_answer": 500, "concurrency": 2}
        rows = bench.run([task(str(n)) for n in range(120)], model.url, limits=limits)
    spent = sum(row.cost_usd for row in rows if isinstance(row, Trace))
    assert 0.004 < spent <= 0.01


def test_dollars_that_cannot_be_counted_are_refused(bench, task):
    with bench.model({"text": "Hi."}) as model, pytest.raises(EndpointRefused, match="nobody tells a price"):
        bench.run([task(model="my-own")], model.url, limits={"max_usd": 1})
    assert model.requests == []


@pytest.mark.parametrize("limit", [{"requests_per_minute": 1200}, {"tokens_per_minute": 3600}])
def test_a_rate_is_kept_to(bench, task, limit):
    asked = [task(f"{n}{'.' * 3000}") for n in range(5)]  # about 770 tokens each
    times = []

    def answer(request):
        times.append(time.monotonic())
        return Reply(text="Hi.")

    with bench.model(answer) as model:
        began = time.monotonic()
        bench.run(asked, model.url, limits={"concurrency": 5, **limit})
    assert len(model.requests) == 5
    assert max(times) - began >= (0.19 if "requests_per_minute" in limit else 1.9), "50 ms apart, or 60 a second"


def test_a_pause_is_as_long_as_the_server_says():
    assert 3.0 <= pause(1, {"retry-after": "3"}) <= 3.5
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=9))
    assert 7.5 <= pause(1, {"retry-after": late}) <= 9.5
    assert len({pause(3, {}) for _ in range(9)}) > 1, "nobody waits as long as the next"


def test_prices_are_known_by_provider_or_address_or_not_at_all():
    usage = Usage(input=1_000_000)
    assert price_of(Endpoint(provider="openai"))("gpt-5", usage) == 1.25
    assert price_of(Endpoint())("gpt-5", usage) == 1.25
    assert price_of(Endpoint(base_url="http://localhost/v1"))("gpt-5", usage) is None
    assert price_of(Endpoint())("nobody's", usage) is None
    assert price_of(Endpoint())("gpt-5", Usage(input=1_000_000, cached=1_000_000)) == 0.125
