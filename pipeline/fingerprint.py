"""A hash of what a target's renderer does: what it writes for a corpus, with its template and vocabulary.

It takes a second with a large vocabulary, so it is remembered beside the partitions, under a hash of all that it
depends on: the sources of `renderers`, the tokenizer's files, the settings, the libraries. A tokenizer that is not on
this disk yet has no fingerprint: what was rendered in the run that fetched it is rendered again, and, being equal,
stays as it is.
"""

import importlib.metadata
import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from pipeline.errors import SettingsError, TokenizerUnavailable
from pipeline.rendering import load_renderer, tokenizer_files
from pipeline.targets import SETTINGS, Project, Target
from renderers.errors import RendererError
from renderers.messages import Request, from_hub
from renderers.renderer import Renderer

CORPUS = Path(__file__).with_name("hard_conversations.jsonl")
"""Ours: what templates disagree about, a conversation a line."""
RENDERERS = Path(__file__).parents[1] / "renderers"
LIBRARIES = ("jinja2", "tokenizers")


def fingerprint(project: Project, name: str) -> str:
    """The behaviour of a target's renderer. Raises SettingsError where the settings name none."""
    target = project.targets[name]
    try:
        files = tokenizer_files(target, folder=project.folder, offline=True)
    except TokenizerUnavailable:
        return "tokenizer not here"
    remembered = project.notes / ".fingerprints" / _depends_on(target, files.values())
    if remembered.exists():
        return remembered.read_text()
    try:
        found = behaviour(load_renderer(target, folder=project.folder, offline=True))
    except RendererError as error:
        raise SettingsError(f"{project.folder / SETTINGS}: targets.{name}: {error}") from error
    if project.folder.is_dir():
        remembered.parent.mkdir(parents=True, exist_ok=True)
        fresh = remembered.with_name(f"{remembered.name}-{os.getpid()}")
        fresh.write_text(found)
        os.replace(fresh, remembered)
    return found


def behaviour(renderer: Renderer) -> str:
    """What the renderer makes of the corpus, and what it makes it with."""
    tokenizer = renderer.tokenizer
    told = blake2b(digest_size=10)
    told.update(f"{tokenizer.fingerprint} {tokenizer.chat_template}".encode())
    for request in corpus():
        told.update(b"\0".join(_render(request, renderer)))
    return told.hexdigest()


def _render(request: Request, renderer: Renderer) -> Iterator[bytes]:
    try:
        rendered = renderer.render_batch([request])[0]
    except RendererError as error:
        yield type(error).__name__.encode()
        return
    for told in (rendered.segments, rendered.stream.proofs, rendered.stream.lost):
        yield repr(told).encode()
    yield rendered.ids.tobytes()
    yield rendered.owners.tobytes()


def corpus() -> list[Request]:
    """The hard conversations, whole and ending with a generation prompt."""
    with CORPUS.open("rb") as lines:
        raw = [msgspec.json.decode(line) for line in lines]
    return [
        Request(from_hub(one["messages"]), tuple(one.get("tools", ())), generating=generating)
        for one in raw
        for generating in (False, True)
    ]


def _depends_on(target: Target, files: Iterable[Path]) -> str:
    """A hash of everything that a fingerprint depends on."""
    told = blake2b(digest_size=16)
    asked = (target.model, target.revision, target.renderer, target.today, target.flags, target.history)
    told.update(repr(asked).encode())
    told.update(repr([importlib.metadata.version(library) for library in LIBRARIES]).encode())
    for path in (Path(__file__), CORPUS, *sorted(RENDERERS.rglob("*.py")), *files):
        told.update(blake2b(path.read_bytes()).digest())
    return told.hexdigest()
