"""What each partition should be made of, and which are not: chained code versions, and reasons.

Every asset's code version holds those of the assets above it, because Dagster passes no change on by itself. A stage's
own link is the source of its package, comments left out, and the settings that it reads; the renderer's link is what
it writes (`fingerprint`), so a refactor changes nothing and a fix makes exactly its targets stale. The link of what
costs money is a number in `PAID`, changed by hand.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from pipeline.errors import PromptFileError
from pipeline.fingerprint import fingerprint
from pipeline.publishing.index import INDEX, published
from pipeline.records import Manifest
from pipeline.scrubbing.secrets import rules_version
from pipeline.targets import Project

PACKAGE = Path(__file__).parent
PAID = {"prompts": "2", "traces": "2"}
"""Raise a number only when what was collected must be collected again."""
SOURCES: Mapping[str, tuple[str, ...]] = {
    "conversations": ("converting", "scrubbing"),
    "rendered": ("rendering.py", "../renderers/histories.py"),
    "masked": ("masking.py", "fitting.py", "../renderers/masking.py"),
    "audits": ("auditing",),
    "publication": ("publishing",),
}
"""The code of each stage, relative to this package."""


class Manifests(Protocol):
    """What is known of stored partitions."""

    def manifest(self, asset: str, batch: str) -> Manifest | None: ...


@dataclass(frozen=True, slots=True)
class Stale:
    """A partition that is not what it would be if it were made now."""

    asset: str
    batch: str
    reason: str


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
    """The code version of every asset."""
    versions: dict[str, str] = {}
    for asset, above in upstream(project).items():
        stage = asset.partition("/")[0]
        paid = PAID.get(stage)
        versions[asset] = f"{stage}-{paid}" if paid else chain(_link(asset, project), *(versions[a] for a in above))
    return versions


def _link(asset: str, project: Project) -> str:
    """What of an asset's code version is its own."""
    stage, _, name = asset.partition("/")
    sources = "".join(source_hash(PACKAGE / path) for path in SOURCES[stage])
    if stage == "conversations":
        return chain(sources, repr(project.settings.scrub), rules_version())
    if stage == "rendered":
        return chain(sources, project.targets[name].history, fingerprint(project, name))
    if stage == "masked":
        fields = ("policy", "train_on", "last_turn_only", "max_length", "over_length")
        return chain(sources, repr([getattr(project.targets[name], field) for field in fields]))
    return chain(sources, repr(project.settings.publish)) if stage == "publication" else sources


def chain(*links: str) -> str:
    """One version of several."""
    return blake2b("\0".join(links).encode(), digest_size=6).hexdigest()


@cache
def source_hash(path: Path) -> str:
    """A module or a package, whatever its comments, docstrings and layout."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return chain(*(_code(file) for file in files))


def _code(path: Path) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [line for line in body if not _is_string(line)] or [ast.Pass()]
    return path.name + ast.unparse(tree)


def _is_string(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def file_hash(path: Path) -> str:
    """A batch file as it is now. Raises PromptFileError."""
    try:
        return blake2b(path.read_bytes(), digest_size=10).hexdigest()
    except OSError as error:
        raise PromptFileError(f"{path}: {error.strerror}; a batch is a .jsonl file of that name") from error


def stale(project: Project, store: Manifests) -> list[Stale]:
    """Partitions that are missing or were made from something else, downstream included, in the order to make them."""
    graph, versions = upstream(project), code_versions(project)
    found: list[Stale] = []
    for batch, path in project.batch_files().items():
        made = {asset: store.manifest(asset, batch) for asset in graph}
        behind: dict[str, str] = {}
        for asset, above in graph.items():
            inputs = {a: m.data_version for a in above if (m := made[a])} or {"file": file_hash(path)}
            reasons = [_why(made[asset], versions[asset], inputs), *(f"{a} is stale" for a in above if a in behind)]
            reasons.append(_gone(project, batch) if asset == "publication" else None)
            if reason := next(filter(None, reasons), None):
                behind[asset] = reason
        found += [Stale(asset, batch, reason) for asset, reason in behind.items()]
    return found


def _why(made: Manifest | None, version: str, inputs: Mapping[str, str]) -> str | None:
    """Why a partition is stale by itself."""
    if made is None:
        return "missing"
    if made.code_version != version:
        return f"made by code version {made.code_version}, now {version}"
    changed = [name for name, version in inputs.items() if made.inputs.get(name) != version]
    if "file" in changed:
        return "the prompt file changed"
    return f"{', '.join(changed)} changed" if changed else None


def _gone(project: Project, batch: str) -> str | None:
    """Published files that are not there any more; what is on the Hub is not looked at."""
    publication = project.settings.publish
    folder = project.folder / publication.folder
    if publication.to != "folder":
        return None
    files = (INDEX, *published(folder, batch))
    return next((f"{name} is gone from {publication.folder}" for name in files if not (folder / name).exists()), None)
