"""`tracemill verify`: a dataset, in a folder or on the Hub, made again from its conversations and compared."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.errors import PublicationRefused, SettingsError
from pipeline.fingerprint import behaviour
from pipeline.loading import load_renderer
from pipeline.masking import mask
from pipeline.publishing.checking import Bad, check, check_files, check_nothing_else
from pipeline.publishing.index import INDEX, Index, read_index
from pipeline.publishing.proofs import root
from pipeline.records import Conversation, MaskedRow, RenderedRow
from pipeline.rendering import render
from pipeline.targets import Target


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

    @property
    def passed(self) -> bool:
        return self.bad is None


def remade(
    settings: Mapping[str, Any], conversations: Iterable[Conversation], *, folder: Path = Path(), offline: bool = False
) -> Iterator[MaskedRow]:
    """The rows that a trainer gets of these conversations. `folder`: where local models are looked for."""
    target = Target.model_validate(settings)
    renderer = load_renderer(target, folder=folder, offline=offline)
    told = render(conversations, renderer, history=target.history)
    rows = mask((row for row in told if isinstance(row, RenderedRow)), target)
    return (row for row in rows if isinstance(row, MaskedRow))


def verify(place: str, *, models: Path = Path()) -> Verified:
    """Render every row of a dataset again, and compare. `place`: a folder, or `owner/name`, `owner/name@revision`.

    The Hub is asked for the dataset only; tokenizers must be on this disk. Raises PublicationRefused where there is no
    dataset of ours, and TokenizerUnavailable.
    """
    folder = _folder(place)
    if not (folder / INDEX).is_file():
        raise PublicationRefused(f"{place} has no {INDEX}: it was not published by Tracemill")
    try:
        index = read_index((folder / INDEX).read_bytes())
    except PublicationRefused as error:
        return Verified(place, "", {}, Bad(INDEX, "", str(error)))

    def again(settings: Mapping[str, Any], conversations: Iterable[Conversation]) -> Iterator[MaskedRow]:
        return remade(settings, conversations, folder=models, offline=True)

    found = chain(
        check_files(folder, index.files),
        check_nothing_else(folder, (INDEX, *index.paths)),
        check(folder, index.shards, again),
    )
    bad = next(found, None)
    return Verified(place, whole_root(index), _rows(index), bad, () if bad else tuple(_notes(index, models)))


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
        return Path(snapshot_download(name, repo_type="dataset", revision=revision or None))
    except (HFValidationError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        raise SettingsError(f"{place} is no folder, and the Hub does not have it for us: {why}") from error
