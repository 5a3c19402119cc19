"""A judge of conversations: asked over real HTTP, once for each, within what it may cost."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assets_tests.pipeline.candidates import candidate, mixture
from pipeline.errors import SettingsError
from pipeline.mixing.mix import mix
from pipeline.mixtures import Judge
from pipeline.records import Reject
from pipeline.resources.judge import ChatJudge


@pytest.fixture
def grading():
    """A server that grades by what it reads, and how often it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append(body["messages"][1]["content"])
            grade = "2" if "bad" in asked[-1] else "I give it 9."
            ends = "length" if "long" in asked[-1] else "stop"
            told = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
            told["usage"] = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
            told["choices"] = [{"index": 0, "finish_reason": ends, "message": {"role": "assistant", "content": grade}}]
            sent = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()


def test_a_judge_is_asked_once_and_never_beyond_its_budget(grading, tmp_path, monkeypatch):
    url, asked = grading
    monkeypatch.setenv("JUDGE_KEY", "k")
    judge = Judge(base_url=url, model="m", key="JUDGE_KEY", max_calls=3)
    found = {"a": [candidate("a", name) for name in ("good", "bad", "fine", "bad2", "bad3")]}
    wanted = mixture({"a": {}}).model_copy(
        update={"curate": mixture({"a": {}}).curate.model_copy(update={"judge": judge})}
    )

    def gone() -> set[str]:
        made, told = mix(found, wanted, grams={}, grader=ChatJudge(judge, tmp_path / "grades"))
        ungraded.append(len(told.ungraded))
        return {row.id for row in made if isinstance(row, Reject) and row.reason == "misjudged"}

    ungraded: list[int] = []
    first = gone()
    assert ungraded == [2]
    assert len(asked) == 3
    assert first < {"bad", "bad2", "bad3"}
    assert gone() == {"bad", "bad2", "bad3"}, "what was graded before is free: the budget reaches the rest"
    assert (len(asked), ungraded) == (5, [2, 0])
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(SettingsError, match="JUDGE_KEY is not set"):
        ChatJudge(judge, tmp_path)


def test_a_judge_keeps_to_its_dollars(grading, tmp_path, monkeypatch):
    url, asked = grading
    monkeypatch.setenv("JUDGE_KEY", "k")
    settings = {
        "base_url": url,
        "provider": "openai",
        "model": "gpt-5",
        "key": "JUDGE_KEY",
        "max_calls": 99,
        "max_answer": 500,
    }
    grader = ChatJudge(Judge(**settings, max_usd=0.0125), tmp_path)  # an answer costs $0.00225, and might cost $0.0056
    grades = [grader.grade(f"good {number}") for number in range(9)]
    assert [grade is None for grade in grades] == [False] * 4 + [True] * 5
    assert len(asked) == 4
    assert 0.0089 < grader.usd < 0.0091
    with pytest.raises(SettingsError, match="nobody tells a price of my-own"):
        ChatJudge(Judge(**{**settings, "model": "my-own"}, max_usd=1), tmp_path)


def test_a_judge_that_was_cut_off_has_not_graded_and_is_asked_again(grading, tmp_path, monkeypatch):
    url, asked = grading
    monkeypatch.setenv("JUDGE_KEY", "k")
    grader = ChatJudge(Judge(base_url=url, model="m", key="JUDGE_KEY", max_calls=9), tmp_path)
    assert [grader.grade("long and bad"), grader.grade("long and bad")] == [None, None]
    assert len(asked) == 2
