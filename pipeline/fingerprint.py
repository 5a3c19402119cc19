"""A hash of what a target's renderer does: what it writes for a corpus, with its template and vocabulary.

It takes a second with a large vocabulary, so it is remembered beside the partitions, under a hash of all that it
depends on: the sources of `renderers`, the tokenizer's files, the settings, the libraries. A tokenizer that is not on
this disk yet has no fingerprint: what was rendered in the run that fetched it is rendered again, and, being equal,
stays as it is.
"""

import importlib.metadata
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.errors import SettingsError, TokenizerUnavailable
from pipeline.loading import load_renderer, tokenizer_files
from pipeline.targets import SETTINGS, Project, Target
from renderers.errors import RendererError
from renderers.hub import from_hub, to_hub
from renderers.messages import Request
from renderers.rendered import Rendered, encode
from renderers.renderer import Family, Renderer
from renderers.segments import Stream

CORPUS = Path(__file__).with_name("hard_conversations.jsonl")
"""Ours: what templates disagree about, a conversation a line."""
RENDERERS = Path(__file__).parents[1] / "renderers"
T = TypeVar("T")
LIBRARIES = ("tokenizers",)
"""That can change what is written; a traced template hangs on Jinja, too."""


class Behaviour(msgspec.Struct, frozen=True):
    """What a renderer does, part by part."""

    renderer: str
    template: str
    tokenizer: str
    libraries: str
    """Versions of those that can change what is written."""
    told: dict[str, str]
    """What is written for each conversation of the corpus: a hash of it -> a hash of that."""

    @property
    def digest(self) -> str:
        """All of it in a word."""
        return _hash(msgspec.json.encode(self))


ABSENT = Behaviour("", "", "not here", "", {})
"""Of a target whose tokenizer is not on this disk."""


def fingerprint(project: Project, name: str) -> Behaviour:
    """The behaviour of a target's renderer. Raises SettingsError where the settings name none."""
    target = project.targets[name]
    try:
        files = tokenizer_files(target, folder=project.folder, offline=True)
    except TokenizerUnavailable:
        return ABSENT
    remembered = project.notes / ".fingerprints" / _depends_on(target, files.values())
    if known := recall(remembered, Behaviour):
        return known
    try:
        found = behaviour(load_renderer(target, folder=project.folder, offline=True), target.history)
    except RendererError as error:
        raise SettingsError(f"{project.folder / SETTINGS}: targets.{name}: {error}") from error
    if project.folder.is_dir():
        remember(remembered, found)
    return found


def recall(place: Path, kind: type[T]) -> T | None:
    """What was remembered there; None where nothing was, or what is there is not whole."""
    try:
        return msgspec.json.decode(place.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def remember(place: Path, value: object) -> None:
    """A small file, there once it is whole: several processes may write it, all of them the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f"{place.name}-{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(value))
    os.replace(fresh, place)


def behaviour(renderer: Renderer, history: str = "last") -> Behaviour:
    """What the renderer makes of the corpus, and what it makes it with."""
    tokenizer, requests = renderer.tokenizer, corpus()
    used = LIBRARIES if isinstance(renderer.witness, Family) else (*LIBRARIES, "jinja2")
    return Behaviour(
        renderer=renderer.name,
        template=_hash(str(tokenizer.chat_template).encode()),
        tokenizer=tokenizer.fingerprint,
        libraries=", ".join(f"{library} {importlib.metadata.version(library)}" for library in used),
        told=dict(zip(map(key_of, requests), _written(renderer, requests, history), strict=True)),
    )


def key_of(request: Request) -> str:
    """What a conversation of the corpus is known by: what it says, however our classes hold it."""
    return _hash(msgspec.json.encode((to_hub(request.messages), request.tools, request.generating)))


def _hash(*told: bytes) -> str:
    return blake2b(b"\0".join(told), digest_size=8).hexdigest()


def _written(renderer: Renderer, requests: Sequence[Request], history: str) -> list[str]:
    """A hash of all that is stored of each conversation's rows, or of its refusal. Encoded together, as rows are."""
    told = [_told(renderer, request, history) for request in requests]
    try:
        streams = chain.from_iterable(one for one in told if isinstance(one, list))
        rows = iter(encode(list(streams), renderer.tokenizer))
    except RendererError as error:
        if len(requests) > 1:
            return [one for request in requests for one in _written(renderer, [request], history)]
        return [_hash(type(error).__name__.encode())]
    return [
        _hash(*chain.from_iterable(_stored(next(rows)) for _ in one))
        if isinstance(one, list)
        else _hash(type(one).__name__.encode())
        for one in told
    ]


def _told(renderer: Renderer, request: Request, history: str) -> list[Stream] | RendererError:
    try:
        return renderer.streams(request, history)
    except RendererError as error:
        return error


def _stored(row: Rendered) -> Iterator[bytes]:
    """Everything that is stored of a row, field by field: our classes may look otherwise and mean the same."""
    stream = row.stream
    segments = [(s.text, s.kind, s.message, s.literal, s.origin) for s in row.segments]
    proofs = [(p.message, p.verdict, p.note) for p in stream.proofs]
    weights = sorted(stream.weights.items())
    yield msgspec.json.encode((segments, proofs, stream.lost, sorted(stream.trainable), stream.asked, weights))
    yield row.ids.tobytes()
    yield row.owners.tobytes()


def corpus() -> list[Request]:
    """The hard conversations: whole, to be gone on with, and as each of them was when the model had just spoken."""
    with CORPUS.open("rb") as lines:
        raw = [msgspec.json.decode(line) for line in lines]
    whole = [Request(from_hub(one["messages"]), tuple(one.get("tools", ()))) for one in raw]
    spoken = [one.but(messages=one.messages[:end]) for one in whole for end in _spoken(one)]
    told = [*whole, *(one.but(generating=True) for one in whole), *spoken]
    return list({key_of(one): one for one in told}.values())


def _spoken(request: Request) -> list[int]:
    """Where the conversation has just been answered, and then goes on."""
    return [n for n, message in enumerate(request.messages[:-1], 1) if message.role == "assistant"]


def _depends_on(target: Target, files: Iterable[Path]) -> str:
    """A hash of everything that a fingerprint depends on."""
    told = blake2b(digest_size=16)
    asked = (target.model, target.revision, target.renderer, target.today, target.flags, target.history)
    told.update(repr(asked).encode())
    told.update(repr([importlib.metadata.version(library) for library in (*LIBRARIES, "jinja2")]).encode())
    told.update(_sources(RENDERERS))
    for path in files:
        told.update(blake2b(path.read_bytes()).digest())
    return told.hexdigest()


@cache
def _sources(folder: Path) -> bytes:
    """A hash of what renders and of what it is asked: the code of a process is what it was when that began."""
    found = (Path(__file__), CORPUS, *sorted(folder.rglob("*.py")))
    return blake2b(b"".join(blake2b(path.read_bytes()).digest() for path in found)).digest()
