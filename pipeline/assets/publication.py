"""Publication: the dataset, where its readers are."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
import msgspec

from pipeline.assets.audits import stored
from pipeline.assets.stage import report, save
from pipeline.auditing import join
from pipeline.auditing.case import Case
from pipeline.auditing.picture import picture
from pipeline.auditing.summary import SUMMARY, Summary
from pipeline.fingerprint import fingerprint
from pipeline.leaking import places
from pipeline.loading import load_tokenizer
from pipeline.partitions import BATCHES
from pipeline.publishing.publish import Makers, publish
from pipeline.publishing.publisher import Publisher
from pipeline.records import Conversation, MaskedRow, Shard, Trace
from pipeline.resources.salt import salt_of
from pipeline.resources.store import Store
from pipeline.scrubbing.raw import scrub_lines
from pipeline.targets import Project
from pipeline.verifying import remade


def publication_of(deps: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=BATCHES, deps=deps, kinds={"huggingface", "parquet"}, pool="publication")
    def publication(
        context: dg.AssetExecutionContext,
        project: dg.ResourceParam[Project],
        store: dg.ResourceParam[Store],
        publisher: dg.ResourceParam[Publisher],
    ) -> dg.MaterializeResult:
        """This batch's shards and the dataset's card; refused unless the audits passed for exactly these rows."""
        batch = context.partition_key
        beside, makers = store.beside("publication", batch), makers_of(project, store, batch)
        with store.hold("publication"):
            shards = publish(store, batch, project.settings, publisher=publisher, beside=beside, makers=makers)
            manifest = save(context, store, shards)
        return report(store, manifest, dataset=publisher.address)

    return publication


def makers_of(project: Project, store: Store, batch: str) -> Makers:
    """What other rooms make for a batch's publication."""

    def clean(trace: Trace) -> bytes:
        identity = project.settings.scrub.identity
        with trace.files[0].open() as lines:
            return b"".join(scrub_lines(lines, salt=salt_of(project.data), identity=identity))

    def summary(target: str, left: Collection[str]) -> Mapping[str, Any]:
        if not left:
            return msgspec.json.decode((store.place(f"audits/{target}", batch) / SUMMARY).read_bytes())
        told = Summary()
        for case in cases(target):
            if case.conversation.id not in left:
                told.add(case, ())
        return msgspec.to_builtins(told)

    def drawn(target: str) -> bytes:
        return picture(cases(target))

    def cases(target: str) -> Iterator[Case]:
        tokenizer = load_tokenizer(project.targets[target], folder=project.folder)
        return join(*stored(store, batch, target), tokenizer=tokenizer, target=project.targets[target])

    def again(shard: Shard, conversations: Iterable[Conversation]) -> Iterator[MaskedRow]:
        return remade(shard.target, conversations, folder=project.folder)

    return Makers(
        again=again,
        renderers={name: fingerprint(project, name).digest for name in project.targets},
        clean=clean,
        summary=summary,
        picture=drawn,
        places=partial(places, store, batch),
    )
