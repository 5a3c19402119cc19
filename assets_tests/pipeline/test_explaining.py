"""Why a token is learned or not: the answer agrees with its label and with its message, run by run of the example."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from pipeline import explaining
from pipeline.cli import app
from pipeline.converting.declaring import declared
from pipeline.errors import StoreError
from pipeline.explaining import Case, place_of, why
from pipeline.finding import find_case
from pipeline.records import Exchange, Place, RenderedRow, Trace, TraceFile
from pipeline.resources.store import Store
from pipeline.targets import Project
from renderers.messages import text
from renderers.segments import Kind

BATCH, MOST = "pi_tasks", 6
Cases = Callable[..., list[Case]]


@pytest.fixture
def cases(made: Project, store: Store) -> Cases:
    """(target=) -> cases of the first rows of a batch."""

    def find(target: str = "qwen3") -> list[Case]:
        rows = [row.id for row in store.read(f"rendered/{target}", BATCH, RenderedRow)]
        return [
            find_case(store, made, str(number), target=target, batch=BATCH) for number in range(min(len(rows), MOST))
        ]

    return find


def first(case: Case, kind: Kind, trained: bool | None = None) -> int:
    spans = [span for span in case.row.spans if span.kind is kind]
    wanted = [span for span in spans if trained is None or (span.message in case.row.trainable) is trained]
    return wanted[0].start


def test_the_first_token_of_every_run_is_explained_as_its_label_has_it(cases: Cases):
    for target in ("qwen3", "chatml"):
        for case in cases(target):
            for span in case.row.spans:
                found = why(case, span.start)
                assert found.trained == (found.rule.startswith("policy assistant learns")), found
                assert found.kind is span.kind
                assert found.flip


def test_a_field_holds_what_its_token_says(cases: Cases):
    seen = set()
    for case in cases():
        for span in case.row.spans:
            found = why(case, span.start)
            if found.field and found.field.endswith("/content") and found.message is not None:
                seen.add(found.kind)
                assert found.text.strip(" \n\ufffd") in text(case.conversation.messages[found.message].content)
    assert {Kind.USER, Kind.ANSWER, Kind.TOOL_RESULT} <= seen


def test_the_place_is_where_the_raw_trace_says_it(cases: Cases, store: Store):
    case = cases()[0]
    found = why(case, first(case, Kind.USER))
    trace = next(t for t in store.read("traces", BATCH, Trace) if t.id == case.conversation.trace_id)
    assert found.place
    assert found.text.strip() in json.dumps(at(found.place, trace))


@pytest.mark.parametrize("batch", ["codex_tasks", "pi_tasks"])
def test_a_tool_is_found_where_its_session_declares_it(made: Project, store: Store, batch: str):
    case = find_case(store, made, "0", target="qwen3", batch=batch)
    trace, seen = case.trace(), set()
    assert trace
    tokenizer, start = case.renderer.tokenizer, case.row.spans[0].start
    for tool in case.conversation.tools:
        name = tool["function"]["name"]
        token = place_of(f'"name": "{name}"', case.row, tokenizer)
        found = why(case, token)
        assert found.kind is Kind.TOOLS
        assert found.rule.startswith("tools are what the model was offered")
        assert found.field
        assert found.place, name
        assert at(found.place, trace)["name"] == name.rpartition("__")[2]
        seen.add((found.place.line, found.place.pointer))
    assert len(seen) == len(case.conversation.tools) > 0
    assert why(case, start).place is None, "the template's own words are nowhere in a session"


def at(place: Place, trace: Trace) -> Any:
    """What stands there."""
    file = next(file for file in trace.files if file.name == place.file)
    value = json.loads(file.data.split(b"\n")[place.line - 1])
    for key in place.pointer.split("/")[1:]:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


LOOK = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {}}}


def declaration(*lines: Any, asked: tuple[Any, ...] = ()) -> Place | None:
    """Where a trace of these lines, and of these requests, declares `look`."""
    files = (TraceFile("s.jsonl", "\n".join(map(json.dumps, lines)).encode()),)
    exchanges = tuple(Exchange("chat", json.dumps(one).encode(), b"{}", 200) for one in asked)
    trace = Trace(id="t", prompt_id="p", prompt="", agent="codex", format="codex", files=files, exchanges=exchanges)
    return declared(trace, LOOK)


def test_a_tool_is_found_in_whatever_shape_it_was_offered():
    spec = LOOK["function"]
    call = {"name": "look", "arguments": "{}", "type": "function_call"}
    assert declaration({"call": call}, {"tools": [LOOK]}) == Place("s.jsonl", 2, "/tools/0/function")
    assert declaration({"tools": json.dumps([LOOK])}) == Place("s.jsonl", 1, "/tools")
    other = {**spec, "description": "Another's."}
    assert declaration({"a/b": [other, spec]}) == Place("s.jsonl", 1, "/a~1b/1"), "of two, the one that says the same"
    assert declaration({"a": [other]}) == Place("s.jsonl", 1, "/a/0")
    within = {"type": "namespace", "name": "eyes", "description": "All.", "tools": [spec]}
    assert declaration({"tools": [within]}) is None, "another tool: eyes__look"
    assert declaration({"call": call}, asked=({}, {"tools": [LOOK]})) == Place(
        "exchanges/1/request", 1, "/tools/0/function"
    )
    assert declaration({"call": call}) is None


def test_what_would_flip_it_depends_on_what_decides(cases: Cases, made: Project):
    (case, *_) = cases()
    assert why(case, first(case, Kind.SCAFFOLD)).flip == "nothing"
    told = why(case, first(case, Kind.USER))
    assert told.rule == "policy assistant does not learn user, which the model was told"
    assert told.flip == "`train_on: [answer, reasoning, stop, tool_call, user]`"
    learned = why(case, first(case, Kind.STOP, trained=True))
    assert learned.rule.startswith("policy assistant learns stop, and the turn is proved")
    split = [(c, s.start) for c in cases() for s in c.row.spans if s.kind.sampled and s.message not in c.row.trainable]
    (other, token) = split[0]
    assert not why(other, token).trained
    assert why(other, token).rule.startswith(f"message {why(other, token).message}: ")


@pytest.mark.parametrize("target", ["qwen3", "chatml"])
def test_counting_bytes_and_encoding_again_find_the_same_field(
    cases: Cases, target: str, monkeypatch: pytest.MonkeyPatch
):
    for case in cases(target)[:3]:
        tokens = range(0, len(case.row.input_ids), 7)
        counted = [why(case, token).field for token in tokens]
        assert case.renderer.tokenizer._whole, "no question made what encodes"
        with monkeypatch.context() as patch:
            patch.setattr(explaining, "_pieces", lambda row, tokenizer: [b""] * len(row.input_ids))
            assert [why(case, token).field for token in tokens] == counted
        assert not case.renderer.tokenizer._whole
        assert [why(case, token).field for token in tokens] == counted


def test_a_row_that_is_told_otherwise_now_has_no_field(cases: Cases):
    case = cases()[0]
    token = first(case, Kind.USER)
    assert why(case, token).field
    said = case.conversation.messages
    other = tuple(m.but(content=f"{m.content} And more.") if m.role == "user" else m for m in said)
    changed = replace(case, conversation=replace(case.conversation, messages=other))
    assert why(changed, token).field is None


def test_a_text_is_found_where_it_begins(cases: Cases):
    for case in cases():
        renderer = case.renderer
        for span in case.row.spans[1:6]:
            piece = renderer.tokenizer.decode(case.row.input_ids[span.start : span.start + 3])
            at = place_of(piece, case.row, renderer.tokenizer)
            assert at <= span.start
            assert renderer.tokenizer.decode(case.row.input_ids[at : at + 8]).startswith(piece[:3])
    with pytest.raises(StoreError, match="does not hold 'nowhere in it'"):
        place_of("nowhere in it", case.row, renderer.tokenizer)
    with pytest.raises(StoreError, match="has tokens 0 to"):
        why(case, len(case.row.input_ids))


def test_the_command_takes_a_token_or_a_text_and_speaks_json(made: Project):
    run = CliRunner().invoke
    project = ["-p", str(made.folder), "-b", BATCH]
    found = json.loads(run(app, ["why", "0", "--text", "<|im_start|>assistant", "--json", *project]).stdout)
    again = json.loads(run(app, ["why", "0", "--token", str(found["token"]), "--json", *project]).stdout)
    assert again == found
    assert (found["kind"], found["trained"], found["field"]) == ("scaffold", False, None)
    words = run(app, ["why", "0", "--token", "0", *project]).stdout
    assert "would flip it" in words
    assert "name a token" in str(run(app, ["why", "0", *project]).exception)
