"""`tracemill verify`: a dataset, in a folder or on the Hub, made again from its conversations and compared."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, tee
from pathlib import Path
from typing import Any

from pipeline.auditing import join
from pipeline.auditing.summary import Summary
from pipeline.errors import PublicationRefused, SettingsError
from pipeline.fingerprint import behaviour
from pipeline.loading import load_renderer
from pipeline.masking import mask
from pipeline.publishing.checking import Bad, check, check_files, check_nothing_else
from pipeline.publishing.index import INDEX, Index, read_index
from pipeline.publishing.proofs import root
from pipeline.records import Conversation, MaskedRow, RenderedRow, Shard
from pipeline.rendering import render
from pipeline.settings import hub_token
from pipeline.targets import Target

TURNS = ("trained_turns", "proved_turns")
"""What the verdict of a card is made of."""


@dataclass(frozen=True)
class Verified:
    """What came of it."""

    place: str
    root: str
    """One hash of all roots."""
    rows: Mapping[str, int]
    """Rows that were made again or hashed, by config."""
    bad: Bad | None
    notes: tuple[str, ...] = ()
    verdicts: Mapping[str, str] = field(default_factory=dict)
    """What was proved again of each target's trained turns."""

    @property
    def passed(self) -> bool:
        return self.bad is None


def remade(
    settings: Mapping[str, Any],
    conversations: Iterable[Conversation],
    *,
    folder: Path = Path(),
    offline: bool = False,
    summary: Summary | None = None,
) -> Iterator[MaskedRow]:
    """The rows that a trainer gets of these conversations, audited anew where there is a `summary` to count them in.

    `folder`: where local models are looked for.
    """
    target = Target.model_validate(settings)
    renderer = load_renderer(target, folder=folder, offline=offline)
    said, conversations = tee(conversations)
    told, rendered = tee(row for row in render(said, renderer, history=target.history) if isinstance(row, RenderedRow))
    rows = (row for row in mask(told, target) if isinstance(row, MaskedRow))
    if summary is None:
        yield from rows
        return
    for case in join(conversations, rendered, rows, tokenizer=renderer.tokenizer, target=target):
        summary.add(case, ())
        if case.masked:
            yield case.masked


def verify(place: str, *, models: Path = Path()) -> Verified:
    """Render every row of a dataset again, and compare. `place`: a folder, or `owner/name`, `owner/name@revision`.

    The Hub is asked for the dataset only; tokenizers must be on this disk. Raises PublicationRefused where there is no
    dataset of ours, and TokenizerUnavailable.
    """
    folder = _folder(place)
    if not (folder / INDEX).is_file():
        pull = "" if Path(place).is_dir() else f"; a pull request is {place.partition('@')[0]}@refs/pr/NUMBER"
        raise PublicationRefused(f"{place} has no {INDEX}: it was not published by Tracemill{pull}")
    try:
        index = read_index((folder / INDEX).read_bytes())
    except PublicationRefused as error:
        return Verified(place, "", {}, Bad(INDEX, "", str(error)))

    summaries, sums = defaultdict[str, Summary](Summary), defaultdict[str, Counter[str]](Counter)

    def again(shard: Shard, conversations: Iterable[Conversation]) -> Iterator[MaskedRow]:
        for row in remade(shard.target, conversations, folder=models, offline=True, summary=summaries[shard.id]):
            sums[shard.id].update(row.measures())
            yield row

    found = chain(
        check_files(folder, index.files),
        check_nothing_else(folder, (INDEX, *index.paths)),
        check(folder, index.shards, again),
        (bad for shard in index.shards if shard.target for bad in _claims(shard, sums[shard.id], summaries[shard.id])),
    )
    bad = next(found, None)
    told = {name: summary.verdict for name, summary in _by_config(index, summaries).items()}
    return Verified(
        place, whole_root(index), _rows(index), bad, () if bad else tuple(_notes(index, models)), {} if bad else told
    )


def _claims(shard: Shard, sums: Mapping[str, int], summary: Summary) -> Iterator[Bad]:
    """What the index, and so the card, says of rows that are right, and is not so."""
    said = {name: n for name, n in shard.measured.items() if name == "tokens" or name.startswith("trained")}
    said |= {name: shard.summary.get(name) for name in TURNS}
    found = {**sums, **{name: getattr(summary, name) for name in TURNS}}
    for name in sorted(said.keys() | found.keys()):
        if said.get(name) != found.get(name):
            what = f"{shard.id} is said to have {name} {said.get(name)}, counted again it is {found.get(name)}"
            yield Bad(INDEX, "", what)


def _by_config(index: Index, summaries: Mapping[str, Summary]) -> dict[str, Summary]:
    """The trained turns of each target, and those that are proved."""
    every: dict[str, Summary] = {}
    for shard in index.shards:
        if shard.target:
            told = every.setdefault(shard.config, Summary())
            told.trained_turns += summaries[shard.id].trained_turns
            told.proved_turns += summaries[shard.id].proved_turns
    return every


def whole_root(index: Index) -> str:
    """One hash of all roots."""
    return root({shard.id: shard.root for shard in index.shards})


def _rows(index: Index) -> dict[str, int]:
    rows: dict[str, int] = {}
    for shard in index.shards:
        rows[shard.config] = rows.get(shard.config, 0) + sum(shard.rows.values())
    return rows


def _notes(index: Index, models: Path) -> Iterator[str]:
    """Renderers that behave otherwise here than where the dataset was made: its rows may be equal nevertheless."""
    made = {json.dumps(shard.target): shard for shard in index.shards if shard.target}
    for shard in made.values():
        target = Target.model_validate(shard.target)
        here = behaviour(load_renderer(target, folder=models, offline=True), target.history).digest
        if here != shard.renderer:
            yield f"{shard.config}: made by renderer {shard.renderer}, here it is {here}; its rows are the same"


def _folder(place: str) -> Path:
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import snapshot_download  # for who names a dataset there; others need not wait for it
    from huggingface_hub.errors import HFValidationError

    name, _, revision = place.partition("@")
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision or None, token=hub_token()))
    except (HFValidationError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        raise SettingsError(f"{place} is no folder, and the Hub does not have it for us: {why}") from error
