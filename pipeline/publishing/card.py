"""The dataset's card: configs for `load_dataset`, counts, masks by kind, what left and why, what it was made with.

It is a function of the published shards and the settings alone: the same dataset has the same card.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b

from huggingface_hub import DatasetCardData

from pipeline.publishing.shards import CONVERSATIONS, SPLIT
from pipeline.records import Shard
from pipeline.targets import Publication, Target
from renderers.segments import SAMPLED, Kind

WRITTEN = [kind for kind in Kind if kind in SAMPLED]
HOW = """
# {name}

Agent traces as training tensors, made by Tracemill: {rows:,} conversations in {batches:,} batches.

Each target's config has `input_ids`, `labels` (-100 where nothing is learned) and `attention_mask`, unpadded; the
config `conversations` has the messages, with `tools` and tool call arguments as JSON text.

```python
from datasets import load_dataset

rows = load_dataset("{address}", "{config}", split="{split}")
```
"""


def card(shards: Sequence[Shard], targets: Mapping[str, Target], publication: Publication) -> str:
    """README.md of a dataset that holds these shards."""
    by_config = {name: [s for s in shards if s.config == name] for name in (*targets, CONVERSATIONS)}
    configs = [
        {"config_name": name, "data_files": [{"split": SPLIT, "path": f"{name}/{SPLIT}/*.parquet"}]}
        for name, own in by_config.items()
        if own
    ]
    head = DatasetCardData(license=publication.license, tags=["tracemill", "agent-traces", "sft"], configs=configs)
    address = publication.repo or publication.folder
    how = HOW.format(
        name=address.rpartition("/")[2],
        address=address,
        config=next(iter(targets)),
        split=SPLIT,
        rows=sum(s.rows for s in by_config[CONVERSATIONS]),
        batches=len(by_config[CONVERSATIONS]),
    )
    told = [
        line for name, target in targets.items() if by_config[name] for line in _told(name, target, by_config[name])
    ]
    return "\n".join([f"---\n{head.to_yaml()}\n---", how, "## Targets", *told, *_rejects(shards)]) + "\n"


def _told(name: str, target: Target, shards: Sequence[Shard]) -> Iterator[str]:
    sums = _sum(s.measured for s in shards)
    model = target.model if target.revision is None else f"{target.model}@{target.revision}"
    yield f"\n### {name}\n"
    length = target.max_length or "none"
    yield f"Model `{model}`, policy `{target.policy}`, history `{target.history}`, max_length {length}."
    proved, messages = f"{sums['trainable messages'] - sums['trusted messages']:,}", f"{sums['assistant messages']:,}"
    trusted = sums["trusted messages"]
    only = f"{trusted:,} more are learned on trust" if trusted else "only of these is anything learned"
    yield (
        f"**No audit found an error.** {proved} of {messages} assistant messages are proved to be what inference would "
        f"see, with nothing lost; {only}.\n"
    )
    kinds = [kind for kind in WRITTEN if sums[f"trained {kind}"]]
    yield from _table(
        ["rows", "tokens", "learned", *map(str, kinds)],
        [[sum(s.rows for s in shards), sums["tokens"], sums["trained"], *(sums[f"trained {kind}"] for kind in kinds)]],
    )
    digest = blake2b("".join(shard.digest for shard in shards).encode(), digest_size=10).hexdigest()
    yield f"\nThe hash of these rows is `{digest}`, whatever wrote the files.\n"


def _rejects(shards: Iterable[Shard]) -> Iterator[str]:
    # Rows that left before rendering left once, whatever the number of targets.
    by_config = {s.config: Counter[str]() for s in shards}
    for shard in shards:
        by_config[shard.config].update(shard.rejects)
    left = Counter[str]()
    for count in by_config.values():
        left |= count
    if left:
        yield "## Rows that left\n"
        yield from _table(["stage and reason", "rows"], [[reason, n] for reason, n in sorted(left.items())])


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _table(head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else cell for cell in row)} |"
