"""One batch's shards and the card of the whole dataset, put where the dataset is."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import PublicationRefused
from pipeline.publishing.card import card
from pipeline.publishing.publisher import Partitions, Publisher
from pipeline.publishing.shards import CONVERSATIONS, Dialog, Tensors, dialogs, tensors, write_shard
from pipeline.publishing.verdict import verify
from pipeline.records import Conversation, Manifest, MaskedRow, Shard
from pipeline.targets import ProjectSettings

BEFORE = ("prompts", "traces", "conversations")


def publish(
    store: Partitions, batch: str, settings: ProjectSettings, *, publisher: Publisher, beside: Path
) -> Iterator[Shard]:
    """Publish a batch; its shards, once they are there. Raises PublicationRefused unless every target's audit passed.

    `beside`: a folder for new files until they are put. The card says of other batches what was published of them.
    """
    for target in settings.targets:
        verify(store, batch, target)
    with TemporaryDirectory(prefix=".new-", dir=beside) as folder:
        work = Path(folder)
        shards = [_tensor_shard(store, batch, target, work) for target in settings.targets]
        shards.append(_dialog_shard(store, batch, work))
        others = [s for b in store.batches("publication") if b != batch for s in store.read("publication", b, Shard)]
        whole = sorted([*others, *shards], key=lambda shard: shard.id)
        (work / "README.md").write_text(card(whole, settings.targets, settings.publish), encoding="utf-8")
        names = [*(shard.id for shard in shards), "README.md"]
        publisher.put({name: work / name for name in names}, message=f"Publish {batch}")
    yield from shards


def _tensor_shard(store: Partitions, batch: str, target: str, work: Path) -> Shard:
    made = [_made(store, asset, batch) for asset in (*BEFORE, f"rendered/{target}", f"masked/{target}")]
    rows = tensors(store.read(f"masked/{target}", batch, MaskedRow))
    return write_shard(work, rows, Tensors, config=target, made=made)


def _dialog_shard(store: Partitions, batch: str, work: Path) -> Shard:
    made = [_made(store, asset, batch) for asset in BEFORE]
    rows = dialogs(store.read("conversations", batch, Conversation))
    return write_shard(work, rows, Dialog, config=CONVERSATIONS, made=made)


def _made(store: Partitions, asset: str, batch: str) -> Manifest:
    manifest = store.manifest(asset, batch)
    if manifest is None:
        raise PublicationRefused(f"{asset}/{batch} has not been materialized")
    return manifest
