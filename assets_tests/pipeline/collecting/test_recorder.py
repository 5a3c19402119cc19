"""The recorder's own face: who waits is told so, who has no line gets nothing, and what nobody heard is not lost."""

import time

import httpx
import msgspec
import pytest
import uvicorn

from pipeline.collecting.wire import events, put_together
from pipeline.resources.boxes import Host, ownerless, scratch, sweep
from pipeline.resources.sites import Sites

APIS = {"responses": "/responses", "chat": "/chat/completions", "messages": "/messages"}


@pytest.fixture
def ask(bench, task, monkeypatch):
    """(reply, api, body) -> what an agent gets over its line, and the line."""
    monkeypatch.setattr("pipeline.resources.recorder.PATIENCE", 0.1)

    def made(reply, api, **body):
        with bench.model(reply) as model:
            settings = bench.settings(model.url, api=api, endpoint={"attempts": 1})
            with Sites(settings).open(bench.journal, 0) as site, site.line(task()) as line:
                told = {"model": "m", "stream": True, "input": "a", "messages": [], **body}
                return httpx.post(line.url + APIS[api], json=told, timeout=60), line

    return made


@pytest.mark.parametrize("api", APIS)
def test_who_waits_for_a_stream_is_told_so_and_gets_all_of_it(ask, api):
    got, line = ask({"text": "Hi.", "delay": 0.5}, api)
    assert (got.status_code, got.content.startswith(b": waiting\n\n")) == (200, True)
    assert put_together(api, got.content) == msgspec.json.decode(line.exchanges[0].answer)


@pytest.mark.parametrize("api", APIS)
def test_an_error_after_waiting_is_told_in_the_stream(ask, api):
    got, line = ask({"status": 500, "delay": 0.5}, api)
    (event,) = events(got.content)
    error = event["response"]["error"] if api == "responses" else event["error"]
    assert (got.status_code, error["message"], line.exchanges[0].status) == (200, "scripted", 500)


@pytest.mark.parametrize("api", APIS)
def test_who_wants_no_stream_waits_for_json(ask, api):
    got, line = ask({"text": "Hi.", "delay": 0.5}, api, stream=False)
    assert got.json() == msgspec.json.decode(line.exchanges[0].answer)


def test_who_asks_before_the_server_has_begun_waits_for_it(ask, monkeypatch):
    load = uvicorn.Config.load
    monkeypatch.setattr(uvicorn.Config, "load", lambda config: (time.sleep(0.3), load(config)))
    got, _ = ask({"text": "Hi."}, "chat", stream=False)
    assert got.status_code == 200


def test_a_line_is_its_runs_alone_and_ends_with_it(bench, task):
    with bench.model({"text": "Hi."}) as model, Sites(bench.settings(model.url)).open(bench.journal, 0) as site:
        with site.line(task()) as line:
            url = line.url
            other = url.replace(url.split("/")[3], "0" * 24)
            assert httpx.post(f"{other}/responses", json={"model": "m"}).status_code == 404
            assert httpx.post(f"{url}/responses", content=b"no json").status_code == 400
        assert httpx.post(f"{url}/responses", json={"model": "m", "input": "a"}).status_code == 404
    assert model.requests == []


def test_a_scratch_folder_belongs_to_its_process_as_long_as_that_lives():
    with scratch() as folder:
        assert not ownerless(folder)
        sweep()
        assert folder.is_dir()
    assert not folder.exists()
    assert ownerless(folder)


def test_that_nothing_shuts_an_agent_in_is_said_and_counted(bench, task, tmp_path):
    with pytest.warns(UserWarning, match="kind: host shuts nothing in"):
        Host().box(tmp_path, "").__enter__()
    with bench.model({"text": "Hi."}) as model:
        (run,) = bench.run([task()], model.url)
    assert "run without a sandbox" not in run.measures()
    assert msgspec.structs.replace(run, sandbox=Host.name).measures()["run without a sandbox"] == 1
