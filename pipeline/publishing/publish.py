"""One batch's shards and the card of the whole dataset, put where the dataset is.

Before anything leaves, every row is made again from the conversations as they are published: what was tampered with, or
is not what the renderer makes today, stops the publication.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.columns import ENCODER
from pipeline.errors import PublicationRefused
from pipeline.publishing.card import CARD, TOOLS, card, tools_file
from pipeline.publishing.checking import Again, check
from pipeline.publishing.index import INDEX, Index, read_index, write_index
from pipeline.publishing.proofs import sha
from pipeline.publishing.publisher import Change, Partitions, Publisher, R
from pipeline.publishing.shards import (
    CONVERSATIONS,
    TRACES,
    Dialog,
    Place,
    Session,
    Sourced,
    Table,
    Tensors,
    about,
    dialogs,
    origins,
    session,
    tensors,
    write_table,
)
from pipeline.publishing.verdict import require_verdict
from pipeline.records import Conversation, Manifest, MaskedRow, Reject, Shard, Trace
from pipeline.targets import ProjectSettings, Publication

BEFORE = ("prompts", "traces", "conversations")


@dataclass(frozen=True)
class Makers:
    """What other rooms make for a publication."""

    again: Again
    """Conversations and a shard with the settings of a target -> the rows that a trainer gets."""
    renderers: Mapping[str, str]
    """Target -> a hash of how its renderer behaves."""
    clean: Callable[[Trace], bytes]
    """A session that may be seen."""
    summary: Callable[[str, Collection[str]], Mapping[str, Any]]
    """Target, conversations that are not published -> what the audits counted in the others."""
    picture: Callable[[str], bytes]
    """Target -> a PNG of its masks."""
    places: Callable[[Mapping[str, float]], Mapping[str, Place]]
    """Shares of splits -> where each conversation is published."""


def publish(
    store: Partitions, batch: str, settings: ProjectSettings, *, publisher: Publisher, beside: Path, makers: Makers
) -> Iterator[Shard | Reject]:
    """Publish a batch; its shards, once they are there, and the conversations that no split may have.

    Raises PublicationRefused unless every target's audit passed.

    `beside`: a folder for new files until they are put. The card says of other batches what the dataset's index does.
    """
    for target in settings.targets:
        require_verdict(store, batch, target)
    places = makers.places(settings.publish.splits)
    left = [place for place in places.values() if isinstance(place, Reject)]
    with TemporaryDirectory(prefix=".new-", dir=beside) as folder:
        work = Path(folder)
        shards = [*_tensor_shards(store, batch, settings, work, makers, places)]
        shards.append(_dialog_shard(store, batch, work, places))
        if settings.publish.traces:
            shards.append(_session_shard(store, batch, work, makers, places))
        if bad := next(check(work, shards, makers.again), None):
            raise PublicationRefused(f"{bad}; materialize its target again")
        change = partial(_change, batch=batch, shards=shards, work=work, publication=settings.publish)
        publisher.swap(INDEX, change, message=batch)
    yield from shards
    yield from left


def _change(held: bytes | None, *, batch: str, shards: list[Shard], work: Path, publication: Publication) -> Change:
    """The files of a batch, and what tells of the whole: the index comes last."""
    before = read_index(held) if held else Index()
    index = before.but(batch, shards)
    whole = {CARD: card(index.shards, publication).encode(), TOOLS: tools_file(index.shards)}
    told = {name: content for name, content in whole.items() if content}
    index = Index(shards=index.shards, files={name: sha(content) for name, content in told.items()})
    own = {path: work / path for shard in shards for path in shard.files}
    return Change(put={**own, **told, INDEX: write_index(index)}, gone=frozenset(before.paths).difference(index.paths))


def _origins(store: Partitions, batch: str, places: Mapping[str, Place]) -> Iterator[Sourced]:
    traces = untouched(store, "traces", batch, Trace)
    return origins(untouched(store, "conversations", batch, Conversation), traces, places)


def _tensor_shards(
    store: Partitions,
    batch: str,
    settings: ProjectSettings,
    work: Path,
    makers: Makers,
    places: Mapping[str, Place],
) -> Iterator[Shard]:
    for name, target in settings.targets.items():
        sums = Counter[str]()
        masked = _counted(untouched(store, f"masked/{name}", batch, MaskedRow), places, sums)
        rows = tensors(masked, _origins(store, batch, places), makers.renderers[name])
        table = write_table(work, rows, Tensors, config=name, batch=batch)
        picture = f"{name}/{batch}.png"
        (work / picture).write_bytes(makers.picture(name))
        yield _shard(
            work,
            table,
            name,
            [_made(store, asset, batch) for asset in (*BEFORE, f"rendered/{name}", f"masked/{name}")],
            places,
            more=(picture,),
            measured=sums,
            target=target.model_dump(mode="json"),
            renderer=makers.renderers[name],
            summary=dict(makers.summary(name, _left(places))),
        )


def _dialog_shard(store: Partitions, batch: str, work: Path, places: Mapping[str, Place]) -> Shard:
    rows = dialogs(_origins(store, batch, places))
    table = write_table(work, rows, Dialog, config=CONVERSATIONS, batch=batch)
    counts, tools = Counter[str](), dict[str, dict[str, Any]]()
    left = _left(places)
    for conversation in store.read("conversations", batch, Conversation):
        if conversation.id in left:
            continue
        counts.update(conversation.measures())
        counts.update(about(conversation))
        tools.update({repr(tool): tool for tool in conversation.tools})
    made = [_made(store, asset, batch) for asset in BEFORE]
    return _shard(work, table, CONVERSATIONS, made, places, measured=counts, tools=tuple(tools.values()))


def _session_shard(store: Partitions, batch: str, work: Path, makers: Makers, places: Mapping[str, Place]) -> Shard:
    """Sessions that conversations came of: what left the pipeline is not published by this way."""
    found: dict[str, Place] = {}
    for row in store.read("conversations", batch, Conversation):
        if not isinstance(found.get(row.trace_id), Reject):
            found[row.trace_id] = places[row.id]
    traces = untouched(store, "traces", batch, Trace)
    rows = ((found[trace.id], session(trace, makers.clean(trace))) for trace in traces if trace.id in found)
    table = write_table(work, rows, Session, config=TRACES, batch=batch)
    return _shard(work, table, TRACES, [_made(store, asset, batch) for asset in BEFORE[:2]], places)


def _left(places: Mapping[str, Place]) -> set[str]:
    """Conversations that are not published."""
    return {name for name, place in places.items() if isinstance(place, Reject)}


def _counted(rows: Iterable[MaskedRow], places: Mapping[str, Place], sums: Counter[str]) -> Iterator[MaskedRow]:
    """The same rows; what those measure that are published is added to `sums`."""
    left = _left(places)
    for row in rows:
        if row.conversation_id not in left:
            sums.update(row.measures())
        yield row


def _shard(
    work: Path,
    table: Table,
    config: str,
    made: list[Manifest],
    places: Mapping[str, Place],
    *,
    more: Iterable[str] = (),
    **told: Any,
) -> Shard:
    """`made`: the partitions on the way to it, in order."""
    batch = made[-1].batch
    left = Counter(f"publication: {place.reason}" for place in places.values() if isinstance(place, Reject))
    return Shard(
        id=f"{config}/{batch}",
        config=config,
        batch=batch,
        rows=table.rows,
        root=table.root,
        files={path: sha((work / path).read_bytes()) for path in chain(table.files, more)},
        sources={step.asset: step.data_version.rpartition(".")[2] for step in made},
        rejects={**{f"{step.asset}: {reason}": n for step in made for reason, n in step.rejects.items()}, **left},
        **told,
    )


def untouched(store: Partitions, asset: str, batch: str, row: type[R]) -> Iterator[R]:
    """The rows of a partition. Raises PublicationRefused, after the last, if they are not those that were written."""
    told = blake2b(digest_size=10)
    for one in store.read(asset, batch, row):
        told.update(ENCODER.encode(one))
        yield one
    if told.hexdigest() not in _made(store, asset, batch).rows_file:
        raise PublicationRefused(f"{asset}/{batch} holds other rows than were written; materialize it again")


def _made(store: Partitions, asset: str, batch: str) -> Manifest:
    manifest = store.manifest(asset, batch)
    if manifest is None:
        raise PublicationRefused(f"{asset}/{batch} has not been materialized")
    return manifest
