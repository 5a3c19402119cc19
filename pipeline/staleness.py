"""Which partitions are not what they would be if they were made now, and why: chained code versions, and reasons.

Every asset's code version holds those of the assets above it, because Dagster passes no change on by itself. Its own
links (`links`) are kept under the version that they make, so that of a partition made by another version can be said
what has changed since.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Literal, Protocol

from pipeline.errors import PromptFileError, StoreError
from pipeline.fingerprint import recall, remember
from pipeline.links import PAID, Links, links_of
from pipeline.publishing.index import INDEX, Index, read_index
from pipeline.records import Manifest
from pipeline.targets import Project

VERSIONS = ".versions"
"""Folder of what each code version was made of, beside the partitions."""


class Manifests(Protocol):
    """What is known of stored partitions."""

    def manifest(self, asset: str, batch: str) -> Manifest | None: ...

    def lacks(self, manifest: Manifest) -> bool:
        """Whether its rows are gone, or cut short."""
        ...


Cause = Literal[
    "missing", "never audited", "renderer", "template", "tokenizer", "libraries", "policy", "setting", "code", "input",
    "upstream", "gone",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stale:
    """A partition that is not what it would be if it were made now."""

    asset: str
    batch: str
    cause: Cause
    reason: str
    """The cause in words: what of it, and how much."""


def upstream(project: Project) -> dict[str, tuple[str, ...]]:
    """Every asset and what it is made from, in the order in which they are made."""
    graph: dict[str, tuple[str, ...]] = {
        "prompts": (),
        "traces": ("prompts",),
        "conversations": ("traces",),
    }
    for name in project.targets:
        graph[f"rendered/{name}"] = ("conversations",)
        graph[f"masked/{name}"] = (f"rendered/{name}",)
        graph[f"audits/{name}"] = ("conversations", f"rendered/{name}", f"masked/{name}")
    made = [asset for asset in graph if asset.partition("/")[0] in ("masked", "audits")]
    return {**graph, "publication": ("conversations", *made)}


def code_versions(project: Project) -> dict[str, str]:
    """The code version of every asset; what each is made of is remembered."""
    links = {asset: links_of(asset, project) for asset in upstream(project)}
    versions: dict[str, str] = {}
    for asset, above in upstream(project).items():
        stage, own = asset.partition("/")[0], links[asset]
        told = [*(f"{name}={link}" for name, link in own.own.items()), repr(sorted(own.told.items()))]
        paid = PAID.get(stage)
        versions[asset] = f"{stage}-{paid}" if paid else chain(*told, *(versions[a] for a in above))
        place = project.notes / VERSIONS / versions[asset]
        if project.folder.is_dir() and recall(place, Links) != own:
            remember(place, own)
    return versions


def chain(*links: str) -> str:
    """One version of several."""
    return blake2b("\0".join(links).encode(), digest_size=6).hexdigest()


def file_hash(path: Path) -> str:
    """A batch file as it is now. Raises PromptFileError."""
    try:
        return blake2b(path.read_bytes(), digest_size=10).hexdigest()
    except OSError as error:
        raise PromptFileError(f"{path}: {error.strerror}; a batch is a .jsonl file of that name") from error


def stale(project: Project, store: Manifests, *, batches: Collection[str] | None = None) -> list[Stale]:
    """Partitions that are missing or were made from something else, downstream included, in the order to make them."""
    graph, versions = upstream(project), code_versions(project)
    why = Reasons(project, versions)
    found: list[Stale] = []
    for batch, path in project.batch_files().items():
        if batches and batch not in batches:
            continue
        made, damaged = _manifests(store, graph, batch)
        behind: dict[str, Stale] = {}
        for asset, above in graph.items():
            inputs = {a: m.data_version for a in above if (m := made[a])} or {"file": file_hash(path)}
            reason = damaged.get(asset) or why.missing(asset, made) or why.changed(asset, made[asset], inputs)
            late = next((a for a in above if a in behind), None)
            if late and (reason is None or reason[0] == "upstream"):
                reason = "upstream", f"upstream: {late} is stale"
            if reason := reason or (why.gone(batch) if asset == "publication" else None):
                behind[asset] = Stale(asset, batch, *reason)
        found += behind.values()
    return found


def _manifests(
    store: Manifests, assets: Iterable[str], batch: str
) -> tuple[dict[str, Manifest | None], dict[str, "Reason"]]:
    """What is known of a batch's partitions; and what is wrong with those of which something is lost."""
    made: dict[str, Manifest | None] = {}
    damaged: dict[str, Reason] = {}
    for asset in assets:
        try:
            made[asset] = store.manifest(asset, batch)
        except StoreError as error:
            made[asset], damaged[asset] = None, ("missing", str(error))
        else:
            if (there := made[asset]) and store.lacks(there):
                damaged[asset] = "gone", f"{there.rows_file} is gone, or cut short"
    return made, damaged


def rerenderable(project: Project, store: Manifests) -> dict[str, list[Stale]]:
    """What of each batch can be brought up to date without a model: all that is stale after the traces it has."""
    found, behind = stale(project, store), dict[str, list[Stale]]()
    without = {one.batch for one in found if one.asset == "traces" and one.cause in ("missing", "gone")}
    for one in found:
        if one.asset not in PAID and one.batch not in without:
            behind.setdefault(one.batch, []).append(one)
    return behind


Reason = tuple[Cause, str]
MISSING: Reason = ("missing", "missing")
CAUSES: Mapping[str, Cause] = {
    "code": "code",
    "tokenizer": "tokenizer",
    "template": "template",
    "libraries": "libraries",
    "policy": "policy",
}
"""Links that are causes of their own; every other one is a setting."""
HASHED = ("code", "tokenizer", "template", "scrubbing rules")
"""Links whose values say nothing to people."""


def _told(name: str, was: str, now: str) -> Reason:
    told = f"{name} changed" if name in HASHED else f"{name}: {was} → {now}"
    return CAUSES.get(name, "setting"), told


class Reasons:
    """Why a partition is stale."""

    def __init__(self, project: Project, versions: Mapping[str, str]):
        self.project, self.versions = project, versions
        self.known: dict[tuple[str, str], Reason] = {}
        """(asset, version that made it) -> what has changed since: many partitions were made by one version."""

    def missing(self, asset: str, made: Mapping[str, Manifest | None]) -> Reason | None:
        if made[asset] is not None:
            return None
        stage, _, target = asset.partition("/")
        return ("never audited", "never audited") if stage == "audits" and made[f"masked/{target}"] else MISSING

    def changed(self, asset: str, made: Manifest | None, inputs: Mapping[str, str]) -> Reason | None:
        """What a partition was made by, or from, that is otherwise now."""
        if made is None:
            return MISSING
        if made.code_version != self.versions[asset]:
            key = asset, made.code_version
            if key not in self.known:
                self.known[key] = self.since(asset, made.code_version)
            return self.known[key]
        changed = [name for name, version in inputs.items() if made.inputs.get(name) != version]
        if "file" in changed:
            return "input", "the prompt file changed"
        return ("upstream", f"upstream: {', '.join(changed)} changed") if changed else None

    def since(self, asset: str, version: str) -> Reason:
        """What has changed since a code version: the first of its own links, else something above."""
        was, now = self.links(version), self.links(self.versions[asset])
        if was is None or now is None:
            return "code", f"made by code version {version}, of which nothing is known here"
        names = dict.fromkeys((*now.own, *was.own))
        changed = [name for name in names if was.own.get(name) != now.own.get(name)]
        differs = sum(was.told.get(one) != told for one, told in now.told.items())
        count = f"{differs} of {len(now.told)} corpus conversations differ"
        if differs and changed in ([], ["code"]):
            return "renderer", f"renderer {now.renderer}: {count}"
        if changed:
            cause, told = _told(changed[0], was.own.get(changed[0], "none"), now.own.get(changed[0], "none"))
            return cause, f"{told}: {count}" if differs else told
        above = upstream(self.project)[asset]
        return "upstream", f"upstream: made by another code version of {' or '.join(above)}"

    def links(self, version: str) -> Links | None:
        return recall(self.project.notes / VERSIONS / version, Links)

    def gone(self, batch: str) -> Reason | None:
        """Published files that are not there any more; what is on the Hub is not looked at."""
        publication = self.project.settings.publish
        if publication.to != "folder":
            return None
        folder = self.project.folder / publication.folder
        files = (INDEX, *self.index.files, *self.published.get(batch, ()))
        lost = next((name for name in files if not (folder / name).exists()), None)
        return ("gone", f"{lost} is gone from {publication.folder}") if lost else None

    @cached_property
    def index(self) -> Index:
        """What was published, read once."""
        place = self.project.folder / self.project.settings.publish.folder / INDEX
        return read_index(place.read_bytes()) if place.exists() else Index()

    @cached_property
    def published(self) -> dict[str, list[str]]:
        """The files of each batch."""
        found: dict[str, list[str]] = {}
        for shard in self.index.shards:
            found.setdefault(shard.batch, []).extend(shard.files)
        return found
