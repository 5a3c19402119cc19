"""A fingerprint is what a renderer does: it changes where that does, and is remembered until then."""

import shutil
from itertools import chain
from pathlib import Path

import pytest
from msgspec.structs import replace

from assets_tests.pipeline.retargeted import with_target
from pipeline import fingerprint as fingerprints
from pipeline.fingerprint import behaviour, corpus, fingerprint
from pipeline.loading import load_renderer
from pipeline.targets import EXAMPLE, Project, Target
from renderers.messages import Message, Request
from renderers.segments import Proof, Segment, Stream


@pytest.fixture
def own_model(project: Project) -> Project:
    """The project with a tokenizer folder of its own."""
    shutil.copytree(EXAMPLE / "tokenizer", project.folder / "own")
    return with_target(project, "chatml", model="own")


def test_a_template_that_writes_otherwise_is_another_behaviour(own_model: Project):
    before, others = fingerprint(own_model, "chatml"), fingerprint(own_model, "qwen3")
    template = own_model.folder / "own" / "chat_template.jinja"
    template.write_text(template.read_text() + "\n\nmore")
    assert fingerprint(own_model, "chatml") != before
    assert fingerprint(own_model, "qwen3") == others


def test_a_fingerprint_is_remembered_until_something_changes(own_model: Project, monkeypatch: pytest.MonkeyPatch):
    before = fingerprint(own_model, "chatml")
    asked = replace(before, renderer="asked")
    monkeypatch.setattr(fingerprints, "behaviour", lambda renderer, history: asked)
    assert fingerprint(own_model, "chatml") == before
    tokenizer = own_model.folder / "own" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert fingerprint(own_model, "chatml") == asked


def test_conversations_behave_together_as_each_does_alone():
    renderer = load_renderer(Target(model="example", renderer="qwen3"))
    said = Message("user", "x"), Message("assistant", "y")
    refused, broken = Request((Message("nobody", "x"),)), Request((Message("user", "\ud800"), said[1]))
    requests = [*corpus()[:3], refused, *corpus()[3:6]]
    for asked in (requests, [*requests, broken, Request(said)]):
        told = fingerprints._written(renderer, asked, "split")
        assert told == [*chain.from_iterable(fingerprints._written(renderer, [one], "split") for one in asked)]
    assert len(set(told)) == len(asked), "what is refused says why, and spoils no other"


def test_what_our_classes_look_like_is_no_behaviour(monkeypatch: pytest.MonkeyPatch):
    renderers = [load_renderer(Target(model="example", renderer=name)) for name in ("qwen3", "traced")]
    before = [behaviour(renderer, "split") for renderer in renderers]
    for kind in (Request, Message, Segment, Stream, Proof):
        monkeypatch.setattr(kind, "__repr__", lambda self: f"<{id(self)}>")
    assert [behaviour(renderer, "split") for renderer in renderers] == before


def test_a_refactored_renderer_is_the_same_renderer(
    own_model: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    before = fingerprint(own_model, "chatml")
    sources = tmp_path / "renderers"
    sources.mkdir()
    (sources / "moved.py").write_text("# everything moved here")
    monkeypatch.setattr(fingerprints, "RENDERERS", sources)
    assert fingerprint(own_model, "chatml") == before


def test_sources_that_are_edited_while_a_process_runs_are_not_what_it_runs(
    own_model: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Or the old code's behaviour would be remembered as that of the new."""
    (tmp_path / "brick.py").write_text("old")
    monkeypatch.setattr(fingerprints, "RENDERERS", tmp_path)
    fingerprint(own_model, "chatml")
    (tmp_path / "brick.py").write_text("new")
    remembered = list((own_model.notes / ".fingerprints").iterdir())
    fingerprint(own_model, "chatml")
    assert list((own_model.notes / ".fingerprints").iterdir()) == remembered


def test_a_project_that_is_not_there_yet_is_not_made_by_asking(tmp_path: Path, project: Project):
    fingerprint(Project(tmp_path / "absent", project.settings), "qwen3")
    assert not (tmp_path / "absent").exists()


def test_the_corpus_tells_every_witness_apart(project: Project):
    targets = [
        Target(model="example", renderer="qwen3"),
        Target(model="example", renderer="qwen3", flags={"enable_thinking": False}),
        Target(model="example", renderer="traced"),
    ]
    assert len({repr(behaviour(load_renderer(target))) for target in targets}) == len(targets)


def test_the_corpus_is_hard(project: Project):
    said = corpus()
    assert len(said) > 90
    assert len({repr(request) for request in said}) == len(said)
    assert any(request.tools for request in said)
    assert any(message.tool_calls and message.reasoning for request in said for message in request.messages)
    assert {message.role for request in said for message in request.messages} == {
        "system",
        "developer",
        "user",
        "assistant",
        "tool",
    }
