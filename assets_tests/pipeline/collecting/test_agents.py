"""Real Codex, Pi and Claude Code at work in containers, the model scripted: what they are told, and how a run ends.

Where there is no engine they run on this machine itself, and the summary of the tests says so.
"""

import json
import os
import re
import secrets
import subprocess

import msgspec
import pytest

from assets_tests.recording.agents import CLAUDE_CODE
from assets_tests.recording.model import Reply
from pipeline.converting import FORMATS, convert
from pipeline.records import Decoding, Reject, Trace
from pipeline.scrubbing import scrub
from pipeline.targets import Scrubbing
from renderers.messages import text

APIS = {"codex": "responses", "pi": "chat", "claude-code": "messages"}
VERSIONS = {"codex": "0.169.0", "pi": "1.5.2", "claude-code": CLAUDE_CODE}
SHELLS = {"pi": "bash", "claude-code": "Bash"}
ALL = pytest.mark.parametrize("agent", APIS)


def shell(agent: str, *commands: str) -> tuple[dict, ...]:
    """Parallel calls of the agent's own shell."""
    if agent in SHELLS:
        return tuple({SHELLS[agent]: {"command": command}} for command in commands)
    return tuple({"exec_command": {"cmd": command, "yield_time_ms": 30_000}} for command in commands)


@pytest.fixture
def run(bench, place, task):
    """Runs one prompt of an agent against these replies: its row, and the server."""

    def made(agent: str, *replies, limits=(), api=None, settings=(), **fields):
        with bench.model(*replies) as model:
            told = {"sandbox": place.sandbox, "limits": {"timeout": 600, **dict(limits)}, **dict(settings)}
            asked = task(agent=agent, **fields)
            (row,) = bench.run([asked], model.url, api=api or APIS[agent], **told)
        assert place.leftovers() == 0
        return row, model

    return made


def told(trace: Trace) -> list:
    """The messages of the last context window, as the converter reads the session."""
    return list(FORMATS[trace.format].convert(trace))[-1].messages


def heard(model, number: int) -> str:
    """What a request told the model, as text."""
    return json.dumps(model.requests[number], ensure_ascii=False)


@ALL
def test_a_plain_answer(run, place, agent):
    trace, model = run(agent, {"text": "Hello.", "tokens": 9}, system="You answer in one word.")
    assert isinstance(trace, Trace)
    assert (trace.status, trace.format, trace.agent, trace.usage.input) == ("complete", agent, agent, 9)
    assert trace.agent_version == VERSIONS[agent]
    assert (trace.sandbox or "").startswith(place.kind)
    assert "You answer in one word." in heard(model, 0), "the system prompt is really sent"
    assert (told(trace)[-1].role, told(trace)[-1].content) == ("assistant", "Hello.")
    assert json.loads(trace.exchanges[0].request) == model.requests[0]
    assert len(trace.files) == 1


@ALL
def test_tools_in_parallel_in_a_repository(run, bench, place, tmp_path, agent):
    repository = tmp_path / "github/owner/name"
    repository.mkdir(parents=True)
    (repository / "hello.py").write_text("print('hello from the repository')\n")
    for step in ("init -q -b main", "add .", "-c user.name=a -c user.email=a@b.c commit -q -m Start"):
        subprocess.run(["git", *step.split()], cwd=repository, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    commands = shell(agent, "python3 hello.py; git log --format=%s", "echo user $(id -u) > out.txt; cat out.txt")
    trace, model = run(
        agent,
        {"text": "Look.", "calls": commands},
        {"text": "Done."},
        github_repo="owner/name",
        ref="main",
        settings={"github": f"file://{tmp_path / 'github'}"},
    )
    assert (trace.status, trace.commit) == ("complete", head.stdout.strip())
    assert "hello from the repository" in heard(model, 1)
    assert "Start" in heard(model, 1)
    if place.kind == "docker":
        assert f"user {os.getuid() or 1000}" in heard(model, 1), "never root"
    assert [message.role for message in told(trace)][-4:] == ["assistant", "tool", "tool", "assistant"]


@ALL
def test_a_follow_up_goes_on_in_the_same_session(run, agent):
    replies = [{"text": "One."}, {"text": "Two."}, {"text": "Three."}]
    trace, model = run(agent, *replies, follow_up_prompts=("And then?", "And -- now?"))
    assert (trace.status, len(trace.files), len(trace.exchanges)) == ("complete", 1, 3)
    assert all(word in heard(model, 2) for word in ("Say hi.", "One.", "And then?", "Two.", "And -- now?"))
    asked = [message.content for message in told(trace) if message.role == "user"]
    assert asked[-3:] == ["Say hi.", "And then?", "And -- now?"]


def delegated(agent: str, request: dict) -> Reply:
    """The model's answer to a main agent, which asks a helper, or to the helper."""
    last = json.dumps((request.get("input") or request["messages"])[-1])
    if "COUNT-THEM" in last:
        return Reply(text="Five words.")
    if agent == "claude-code":
        asked = {"description": "Count", "prompt": "COUNT-THEM", "subagent_type": "general-purpose"}
        name = next(tool["name"] for tool in request["tools"] if tool["name"] in ("Task", "Agent"))
        return Reply(text="Done.") if "Five words." in last else Reply(calls=({name: asked},))
    if "Five words." in last or "completed" in last:
        return Reply(text="Done.")
    found = re.search(r"agent_id[^0-9a-f]+([0-9a-f-]{36})", last)
    space = "multi_agent_v1."
    begun = {f"{space}wait_agent": {"targets": [found[1]], "timeout_ms": 60_000}} if found else None
    return Reply(calls=(begun or {f"{space}spawn_agent": {"message": "COUNT-THEM"}},))


@pytest.mark.parametrize("agent", ["codex", "claude-code"])
def test_what_a_sub_agent_did_is_a_conversation_of_the_same_trace(run, agent):
    trace, _ = run(agent, lambda request: delegated(agent, request))
    assert (trace.status, len(trace.files)) == ("complete", 2)
    main, helper = convert([trace])
    assert [row.messages[-1].content for row in (main, helper)] == ["Done.", "Five words."]
    assert {row.trace_id for row in (main, helper)} == {trace.id}
    assert helper.origin.parent == main.origin.session
    assert [row.checked for row in (main, helper)] == ["verified"] * 2


@pytest.mark.parametrize(("name", "between"), [("claude-sonnet-4-5", False), ("my-own", True)])
def test_what_claude_code_keeps_to_itself_the_recorder_knows(run, name, between):
    """Its files have no system prompt, no tools and no reminders; the model's next request has all of them.

    Reminders come in the user's name, or, for models that Claude Code thinks new, as messages between.
    """
    replies = [{"reasoning": "Hm.", "text": "Look.", "calls": shell("claude-code", "echo a", "echo b")}]
    replies += [{"text": "Done."}, {"text": "Bye."}]
    trace, model = run("claude-code", *replies, follow_up_prompts=("And?",), model=name)
    (row,) = convert([trace])
    assert row.checked == "verified"
    told = [message.role[0] for message in row.messages]
    assert told == list("susattaua" if between else "suattaua")
    reminder = text(row.messages[2 if between else 1].content)
    assert "Available agent types" in reminder
    assert between or reminder.endswith("Say hi.")
    assert row.messages[told.index("a")].reasoning == "Hm."
    assert [tool["function"]["name"] for tool in row.tools] == [tool["name"] for tool in model.requests[0]["tools"]]
    assert text(row.messages[0].content) == "".join(part["text"] for part in model.requests[0]["system"])
    assert len(row.places) == len(row.messages)


@ALL
def test_what_is_refused_for_now_the_agent_never_hears_of(run, agent):
    refused = [{"status": 429, "headers": {"retry-after": "0"}}, {"status": 500}, {"text": "Hel", "broken": True}]
    trace, model = run(agent, *refused, {"text": "Hello."})
    assert (trace.status, len(model.requests), [e.attempts for e in trace.exchanges]) == ("complete", 4, [4])
    assert told(trace)[-1].content == "Hello."


@ALL
def test_an_outage_is_an_error_that_is_run_again(bench, place, task, agent):
    asked, settings = task(agent=agent), {"sandbox": place.sandbox, "api": APIS[agent], "endpoint": {"attempts": 1}}
    with bench.model({"text": "Look.", "calls": shell(agent, "true")}, {"status": 503}) as model:
        (trace,) = bench.run([asked], model.url, **settings)
    assert (trace.status, [e.status for e in trace.exchanges]) == ("error", [200, 503])
    with bench.model({"text": "Hello."}) as model:
        (trace,) = bench.run([asked], model.url, **settings)
    assert (trace.status, len(model.requests)) == ("complete", 1)
    assert trace.usage.input == 2000, "what the first run has paid for is in the ledger"


@ALL
def test_a_run_that_takes_too_long_is_stopped_in_good_order(run, agent):
    sleep = f"sleep {5310 + len(agent)}"
    endless = shell(agent, f"echo begun; {sleep}; echo never")
    trace, model = run(agent, {"text": "Wait.", "calls": endless}, {"text": "Never."}, limits={"timeout": 20})
    word = b"interrupted by user" if agent == "claude-code" else b"abort"
    said = word in trace.files[0].data
    assert trace.status == ("aborted" if said else "killed")
    assert said or agent == "claude-code", "the session says so itself; Claude Code ends before it is written at times"
    assert len(model.requests) == 1
    running = subprocess.run(["pgrep", "-f", sleep], capture_output=True, text=True).stdout.split()
    assert running == [], "what it started ends with it"


@ALL
def test_a_cut_answer_is_a_status_of_its_own(run, agent):
    """Claude Code itself asks to go on, three times."""
    trace, model = run(agent, lambda request: Reply(text="Hel", cut=True), follow_up_prompts=("Go on.",))
    assert trace.status == "length"
    assert "Go on." not in heard(model, -1), "there is nothing to go on from"
    assert len(model.requests) == (4 if agent == "claude-code" else 1)


@ALL
def test_no_key_reaches_the_agent_and_no_secret_the_conversation(run, agent):
    token = f"ghp_{secrets.token_hex(18)}"
    trace, model = run(agent, {"calls": shell(agent, f"env; echo found {token}")}, {"text": f"It is {token}."})
    assert token in heard(model, 1)
    assert b"sk-secret" not in msgspec.msgpack.encode(trace)
    (clean,) = scrub(convert([trace]), Scrubbing(), salt=b"salt")
    assert not isinstance(clean, Reject)
    assert token not in msgspec.json.encode(clean).decode()
    assert sum(clean.scrub.found.values()) >= 2


@ALL
def test_there_is_no_network_but_for_the_recorder(run, place, agent):
    if place.kind != "docker":
        pytest.skip("the host sandbox shuts nothing in: no Docker engine here")
    tries = [
        "python3 -c \"import socket; socket.create_connection(('{}', {}), 3)\" && echo REACHED",
        "curl --silent --max-time 3 http://example.com && echo REACHED",
    ]
    addresses = [("1.1.1.1", 53), ("172.17.0.1", 22), ("169.254.169.254", 80)]
    commands = shell(agent, *(tries[0].format(*where) for where in addresses), tries[1], "ls /sys/class/net")
    trace, _ = run(agent, {"calls": commands}, {"text": "None."})
    results = [message.content for message in told(trace) if message.role == "tool"]
    assert len(results) == 5
    assert not any("REACHED\n" in str(result) for result in results)
    assert "lo" in str(results[-1])
    assert "eth" not in str(results[-1])


def test_codex_works_with_a_server_that_speaks_chat_alone(run):
    agent = "codex"
    patch = '*** Begin Patch\n*** Add File: made.txt\n+made by "patch"\n*** End Patch\n'
    replies = [{"reasoning": "Hm.", "calls": ({"apply_patch": {"input": patch}},)}]
    replies += [{"calls": shell(agent, "cat made.txt")}, {"text": "Done."}]
    trace, model = run(agent, *replies, api="chat", model="gpt-5.5", sampling=Decoding(reasoning_effort="low"))
    assert trace.status == "complete"
    assert {tool["function"]["name"] for tool in model.requests[0]["tools"]} >= {"exec_command", "apply_patch"}
    assert 'made by \\"patch\\"' in heard(model, 2)
    assert [exchange.api for exchange in trace.exchanges] == ["responses"] * 3
    assert model.requests[1]["messages"][-2]["reasoning_content"] == "Hm."


def test_codex_works_in_code_mode_with_a_server_that_speaks_chat_alone(run):
    """Its one tool, which runs JavaScript, is offered among the items of the request."""
    script = 'const r = await tools.exec_command({ cmd: "echo made by $((40 + 2))" }); text(r.output);'
    replies = [{"calls": ({"functions__exec": {"input": script}},)}, {"text": "Done."}]
    trace, model = run("codex", *replies, api="chat", model="gpt-6-sol")
    assert trace.status == "complete"
    assert "functions__exec" in {tool["function"]["name"] for tool in model.requests[0]["tools"]}
    assert "made by 42" in heard(model, 1)
    (row,) = convert([trace])
    assert row.checked == "verified"


def test_eight_at_a_time_and_none_is_left_over(bench, place, task):
    def answer(request):
        done = any(word in json.dumps(request) for word in ('"function_call_output"', '"role": "tool"'))
        agent = "codex" if "input" in request else "pi"
        return Reply(text="Done.") if done else Reply(calls=shell(agent, "echo $HOME; ls"))

    asked = [task(f"task {n}", agent="codex") for n in range(8)]
    with bench.model(answer) as model:
        rows = bench.run(asked, model.url, sandbox=place.sandbox, limits={"concurrency": 8})
    assert [row.status for row in rows] == ["complete"] * 8
    assert len({row.files[0].name for row in rows}) == 8
    assert len(model.requests) == 16
    assert place.leftovers() == 0
