"""The dataset's card: configs for `load_dataset`, counts, masks by kind, what left and why, what it was made with.

It is a function of the published shards and the settings alone: the same dataset has the same card.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from pipeline.publishing.shards import ABOUT, CONVERSATIONS, TRACES
from pipeline.records import Shard
from pipeline.targets import Publication
from renderers.segments import SAMPLED, Kind

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData

CARD, TOOLS = "README.md", "tools.json"
EMBEDDED = 80_000
"""Characters of tool specs that a card holds; more are a file of their own."""
WRITTEN = [kind for kind in Kind if kind in SAMPLED]
TAGS = ("tracemill", "distillation", "sft", "conversational")
AGENTS, VIEWER = "agent-traces", "format:agent-traces"
"""Tags of what agents did; by the second the Hub shows sessions as conversations."""
CHATS = frozenset({"chat", "messages", "sharegpt"})
"""Formats that are no agent's."""
GATED = "Whoever asks for access is told to whom: name and address are shared with the owners of this dataset."
HOW = """
# {name}

Agent traces as training tensors, made by Tracemill: {rows:,} conversations in {batches:,} batches.

Each target's config has `input_ids`, `labels` (-100 where nothing is learned) and `attention_mask`, unpadded; the
config `conversations` has the messages, with `tools` and tool call arguments as JSON text.{sessions}

```python
from datasets import load_dataset

rows = load_dataset("{address}", "{config}", split="{split}")
```
"""
SESSIONS = """ The config `traces` has
the sessions as the agents wrote them, a row each, but for what was scrubbed."""
PROOF = """## Proof

Each row of a target has the sha256 of the session that it came from (`raw_sha`), of the conversation, of its ids and
of its mask, and the hash of how its renderer behaves. A root is the hash of all rows of a batch and config, whatever
wrote the file. This renders every row again, offline, and says PASS or names the first row that differs:

```console
$ tracemill verify {address}
```
"""


def card(shards: Sequence[Shard], publication: Publication) -> str:
    """README.md of a dataset that holds these shards."""
    from huggingface_hub import DatasetCard  # a fifth of a second, which the graph need not wait for

    configs = _by_config(shards)
    address = publication.repo or publication.folder
    conversations = configs.get(CONVERSATIONS, [])
    targets = {name: own for name, own in configs.items() if name not in (CONVERSATIONS, TRACES)}
    first = next(iter(targets), CONVERSATIONS)
    how = HOW.format(
        name=address.rpartition("/")[2],
        address=address,
        config=first,
        split=_splits(configs[first])[0],
        rows=sum(_rows(shard) for shard in conversations),
        batches=len(conversations),
        sessions=SESSIONS if TRACES in configs else "",
    )
    parts = [
        how,
        "## Targets",
        *chain.from_iterable(_told(name, own) for name, own in targets.items()),
        *_provenance(conversations),
        *_rejects(shards),
        *_tools(shards),
        PROOF.format(address=address),
        *_roots(configs),
    ]
    return str(DatasetCard(f"---\n{_head(configs, publication).to_yaml()}\n---\n" + "\n".join(parts) + "\n"))


def tools_of(shards: Iterable[Shard]) -> list[dict[str, Any]]:
    """Every tool spec that was offered, each once, by name."""
    found = {json.dumps(tool): tool for shard in shards for tool in shard.tools}
    return [tool for _, tool in sorted(found.items(), key=lambda pair: (_name(pair[1]), pair[0]))]


def tools_file(shards: Iterable[Shard]) -> bytes | None:
    """The specs as a file, where they are too much for a card."""
    told = json.dumps(tools_of(shards), indent=1, ensure_ascii=False)
    return (told + "\n").encode() if len(told) > EMBEDDED else None


def _by_config(shards: Iterable[Shard]) -> dict[str, list[Shard]]:
    """Targets first, in the order of their names."""
    names = sorted({shard.config for shard in shards}, key=lambda name: (name in (CONVERSATIONS, TRACES), name))
    return {name: [shard for shard in shards if shard.config == name] for name in names}


def _head(configs: Mapping[str, Sequence[Shard]], publication: Publication) -> "DatasetCardData":
    from huggingface_hub import DatasetCardData

    found = sorted(_sum(shard.measured for shard in configs.get(CONVERSATIONS, ())))
    made = [name.partition(" ")[2] for name in found if name.startswith(("format ", "model "))]
    told = [AGENTS, VIEWER] if TRACES in configs else [AGENTS]
    agents = any(name.startswith("format ") and name.removeprefix("format ") not in CHATS for name in found)
    tags = [*TAGS, *(told if agents else ()), *(name.rpartition("/")[2] for name in made), *publication.tags]
    return DatasetCardData(
        license=publication.license,
        task_categories=["text-generation"],
        tags=list(dict.fromkeys(tags)),
        configs=[
            {
                "config_name": name,
                **({"default": True} if name == CONVERSATIONS else {}),
                "data_files": [{"split": split, "path": f"{name}/{split}/*.parquet"} for split in _splits(own)],
            }
            for name, own in configs.items()
        ],
        extra_gated_prompt=GATED if publication.gated else None,
    )


def _splits(shards: Iterable[Shard]) -> list[str]:
    """`train` first."""
    return sorted({split for shard in shards for split in shard.rows}, key=lambda split: (split != "train", split))


def _told(name: str, shards: Sequence[Shard]) -> Iterator[str]:
    sums, summary = _sum(s.measured for s in shards), _sum(s.summary for s in shards)
    yield f"\n### {name}\n"
    for settings, renderer in dict.fromkeys((json.dumps(s.target), s.renderer) for s in shards):
        yield _settings(json.loads(settings), renderer)
    proved, trained = summary["proved_turns"], summary["trained_turns"]
    yield f"\n**{proved:,} of {trained:,} trained turns: inference sees this exact prefix.** No audit found an error.\n"
    kinds = [kind for kind in WRITTEN if sums[f"trained {kind}"]]
    yield from _table(
        ["rows", "tokens", "learned", *map(str, kinds)],
        [[sum(map(_rows, shards)), sums["tokens"], sums["trained"], *(sums[f"trained {kind}"] for kind in kinds)]],
    )
    if picture := next((path for shard in shards for path in shard.files if path.endswith(".png")), None):
        yield f"\n![A line a row, a colour a kind; what is trained is bright]({picture})\n"


def _settings(target: Mapping[str, Any], renderer: str) -> str:
    model = target["model"] if target["revision"] is None else f"{target['model']}@{target['revision']}"
    told = f"Model `{model}`, policy `{target['policy']}`, history `{target['history']}`"
    return f"{told}, max_length {target['max_length'] or 'none'}, renderer `{target['renderer']}` `{renderer}`."


def _provenance(conversations: Sequence[Shard]) -> Iterator[str]:
    yield "\n## Where it comes from\n"
    sums = _sum(shard.measured for shard in conversations)
    told = [
        [name.partition(" ")[2], name.partition(" ")[0], n]
        for name, n in sorted(sums.items())
        if name.startswith(ABOUT)
    ]
    yield from _table(["what", "is a", "conversations"], told)
    scrubbed = {name.partition(" ")[2]: n for name, n in sorted(sums.items()) if name.startswith("secret ")}
    found = ", ".join(f"{n:,} {kind}" for kind, n in scrubbed.items()) or "none was found"
    yield f"\nSecrets and personal data were replaced by placeholders: {found}.\n"


def _rejects(shards: Iterable[Shard]) -> Iterator[str]:
    # Rows that left before rendering left once, whatever the number of targets.
    by_config: dict[str, Counter[str]] = {}
    for shard in shards:
        by_config.setdefault(shard.config, Counter()).update(shard.rejects)
    left = Counter[str]()
    for count in by_config.values():
        left |= count
    if left:
        yield "\n## Rows that left\n"
        yield from _table(["stage and reason", "rows"], [[reason, n] for reason, n in sorted(left.items())])


def _tools(shards: Sequence[Shard]) -> Iterator[str]:
    tools = tools_of(shards)
    if not tools:
        return
    names = ", ".join(sorted({f"`{_name(tool)}`" for tool in tools}))
    yield f"\n## Tools\n\n{len(tools):,} tool specs were offered to the model: {names}.\n"
    if tools_file(shards):
        yield f"They are in [{TOOLS}]({TOOLS}).\n"
    else:
        told = json.dumps(tools, indent=1, ensure_ascii=False).replace("```", "\\u0060\\u0060\\u0060")
        yield f"<details><summary>Their JSON</summary>\n\n```json\n{told}\n```\n\n</details>\n"


def _name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str((function if isinstance(function, dict) else tool).get("name", "?"))


def _roots(configs: Mapping[str, Sequence[Shard]]) -> Iterator[str]:
    roots = [[shard.batch, name, _rows(shard), f"`{shard.root}`"] for name, own in configs.items() for shard in own]
    yield from _table(["batch", "config", "rows", "root"], sorted(roots, key=lambda row: row[:2]))


def _rows(shard: Shard) -> int:
    return sum(shard.rows.values())


def _sum(counts: Iterable[Mapping[str, Any]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update({name: n for name, n in count.items() if isinstance(n, int)})
    return total


def _table(head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else " ".join(cell.replace("|", "\\|").split()) for cell in row)
        yield f"| {' | '.join(cells)} |"
