"""What a mixture is made of: rows of the project's batches, and outside rows that become such on the way."""

import os
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pipeline.errors import SettingsError
from pipeline.hashing import digest_of
from pipeline.leaking import conversations
from pipeline.links import code_of
from pipeline.loading import load_renderer
from pipeline.masking import mask
from pipeline.mixing.contamination import benchmark_grams
from pipeline.mixing.mix import Candidate
from pipeline.mixtures import Mixture, Source
from pipeline.publishing.publisher import Partitions
from pipeline.records import Conversation, MaskedRow, Reject, RenderedRow
from pipeline.rendering import render
from pipeline.scrubbing import scrub
from pipeline.staleness import Reason, Stale, chain, code_versions
from pipeline.targets import Project

Found = Iterator[Candidate | Reject]


def candidates(
    project: Project, mixture: Mixture, store: Partitions, *, salt: bytes
) -> dict[str, list[Candidate | Reject]]:
    """The rows of each source, and what left on the way. Raises SettingsError for a source that names nothing."""
    return {
        name: list(
            _own(name, source, mixture.target, store)
            if source.path is None and source.repo is None
            else _outside(name, source, mixture.target, project, salt)
        )
        for name, source in mixture.sources.items()
    }


def batches_of(source: Source, known: list[str], name: str) -> list[str]:
    """The batches that a source names. Raises SettingsError where there are none."""
    found = [batch for batch in known if source.batches is None or fnmatchcase(batch, source.batches)]
    if not found:
        raise SettingsError(
            f"source {name}: no batch is called {source.batches}; there are {', '.join(known) or 'none'}"
        )
    return found


def _own(name: str, source: Source, target: str, store: Partitions) -> Found:
    known, found = set[str](), False
    for batch in batches_of(source, store.batches(f"masked/{target}"), name):
        said = {one.id: one for one in conversations(store, batch)}
        for row in store.read(f"masked/{target}", batch, MaskedRow):
            conversation = said[row.conversation_id]
            known.update(map(str, tags(conversation)))
            if source.tag is None or source.tag in tags(conversation):
                found = True
                yield Candidate(name, row, conversation)
    if source.tag is not None and not found:
        told = f"there are {', '.join(sorted(known)) or 'none'}; a prompt has them in `metadata`, as `tags`"
        raise SettingsError(f"source {name}: no row of masked/{target} has the tag {source.tag}; {told}")


def tags(conversation: Conversation) -> tuple[Any, ...]:
    """Words that its prompt was given."""
    told = conversation.metadata.get("tags", ())
    return (told,) if isinstance(told, str) else tuple(told)


def _outside(name: str, source: Source, target: str, project: Project, salt: bytes) -> Found:
    """Rows of others, told, scrubbed, rendered and masked as the project's own. Their ids begin with the source."""
    from pipeline.gathering import read  # it brings `datasets`, which definitions must not wait for

    wanted = project.targets[target]
    place = source.repo if source.path is None else project.folder / source.path
    where: Any = {"split": source.split, "config": source.config, "revision": source.revision}
    if isinstance(place, Path) and not place.exists():
        raise SettingsError(f"source {name}: {place} does not exist")
    said: dict[str, Conversation] = {}

    def scrubbed() -> Iterator[Conversation | Reject]:
        for one in scrub(read(place or "", format=source.format, **where), project.settings.scrub, salt=salt):
            yield replace(one, id=f"{name}/{one.id}")

    def told() -> Iterator[Conversation]:
        for one in scrubbed():
            if isinstance(one, Reject):
                left.append(one)
            else:
                said[one.id] = one
                yield one

    left: list[Reject] = []
    renderer = load_renderer(wanted, folder=project.folder)
    rendered = list(render(told(), renderer, history=wanted.history))
    yield from left
    yield from (row for row in rendered if isinstance(row, Reject))
    for row in mask((row for row in rendered if isinstance(row, RenderedRow)), wanted):
        yield row if isinstance(row, Reject) else Candidate(name, row, said[row.conversation_id])


def grams_of(project: Project, mixture: Mixture) -> dict[str, str]:
    """The words of the benchmarks that a mixture names. Raises SettingsError for a glob that finds nothing."""
    files: list[Path] = []
    for pattern in mixture.curate.benchmarks:
        found = _benchmarks(project, pattern)
        if not found:
            cure = "name files, relative to it or from /, such as `benchmarks/*.jsonl`"
            raise SettingsError(f"curate.benchmarks: {pattern}: no file of {project.folder} is called that; {cure}")
        files += found
    return benchmark_grams(files, mixture.curate.ngram)


def _benchmarks(project: Project, pattern: str) -> list[Path]:
    found = (project.folder / name for name in glob(pattern, root_dir=project.folder, recursive=True))
    return sorted(path for path in found if path.is_file())


ENTRIES = ("pipeline.blending:candidates", "pipeline.mixing.mix:mix")
"""Where the code of a mixture begins; what renders is a link of its target's."""
HASHES = ".hashes"
"""Folder of what files of others were when they were read, beside the partitions."""
WHOLE = "whole"
"""What stands for the batch of an asset that has no partitions."""


def mixture_version(project: Project, name: str, versions: Mapping[str, str]) -> str:
    """The code version of a mixture, with those of what it is made from."""
    mixture = project.settings.mixtures[name]
    code = code_of(project, *ENTRIES, without=("pipeline.targets", "renderers"))
    return chain(code, repr(mixture), versions[f"masked/{mixture.target}"])


def mixture_inputs(project: Project, mixture: Mixture, store: Partitions) -> dict[str, str]:
    """The partitions and files that a mixture may take rows or words of -> their data versions, or hashes."""
    asset, notes = f"masked/{mixture.target}", project.notes / HASHES
    made = {batch: store.manifest(asset, batch) for batch in store.batches(asset)}
    places = {path for pattern in mixture.curate.benchmarks for path in _benchmarks(project, pattern)}
    places |= {project.folder / source.path for source in mixture.sources.values() if source.path is not None}
    return {
        **{f"{asset}/{batch}": manifest.data_version for batch, manifest in made.items() if manifest},
        **{
            f"file {os.path.relpath(place, project.folder)}": digest_of(place, notes)
            for place in places
            if place.exists()
        },
    }


def stale_mixtures(project: Project, store: Partitions, behind: Collection[Stale] = ()) -> list[Stale]:
    """Mixtures that are missing, or were made of something else. `behind`: partitions that are stale already."""
    versions = code_versions(project) if project.settings.mixtures else {}
    found = ((name, _why(project, name, store, behind, versions)) for name in project.settings.mixtures)
    return [Stale(f"mixture/{name}", WHOLE, *why) for name, why in found if why]


def _why(
    project: Project, name: str, store: Partitions, behind: Collection[Stale], versions: Mapping[str, str]
) -> Reason | None:
    mixture, version = project.settings.mixtures[name], mixture_version(project, name, versions)
    made, inputs = store.manifest(f"mixture/{name}", WHOLE), mixture_inputs(project, mixture, store)
    if made is None:
        return "missing", "missing"
    if made.code_version != version:
        return "code", f"made by code version {made.code_version}, now {version}"
    for asset in sorted(made.inputs.keys() | inputs.keys()):
        if made.inputs.get(asset) != inputs.get(asset):
            return "upstream", f"upstream: {asset} changed"
    waits = (one for one in behind if one.asset == f"masked/{mixture.target}")
    one = next(waits, None)
    return ("upstream", f"upstream: {one.asset} of {one.batch} is stale") if one else None
