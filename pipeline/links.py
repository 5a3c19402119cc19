"""What of an asset's code version is its own: named links, so that a change can be named.

A stage's code is what its entry points reach (`sources`); settings are the values that it reads; the renderer's link is
what it writes (`fingerprint`). The link of what costs money is a number in `PAID`, changed by hand.
"""

from collections.abc import Collection, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

import msgspec

from pipeline.fingerprint import fingerprint, recall, remember
from pipeline.scrubbing.secrets import rules_version
from pipeline.sources import Module, Sources, digest, reader
from pipeline.targets import Project, Target

PAID = {"prompts": "2", "traces": "2"}
"""Raise a number only when what was collected must be collected again."""
ENTRIES: Mapping[str, tuple[str, ...]] = {
    "conversations": ("pipeline.converting:convert", "pipeline.scrubbing:scrub"),
    "rendered": ("pipeline.rendering:render",),
    "masked": ("pipeline.masking:mask",),
    "audits": ("pipeline.auditing:audit",),
    "publication": ("pipeline.publishing.publish:publish", "pipeline.leaking:places"),
}
"""Where the code of each stage begins."""
CODE = ".code"
"""Folder of what was found out about these sources, beside the partitions."""
LINKED = ("pipeline.targets",)
"""Code that is not looked into: what is read of the settings is a link by its value."""


RENDERING = frozenset({"model", "revision", "renderer", "today", "flags", "history"})
"""Settings of a target that its fingerprint holds; every other one is read when rows are masked."""
POLICY = frozenset({"policy", "train_on", "last_turn_only"})
"""Settings that are one policy together."""


class Links(msgspec.Struct, frozen=True):
    """What of an asset's code version is its own."""

    own: dict[str, str] = {}
    """Name -> version or value: `code`, `policy`, `template`, …"""
    renderer: str = ""
    told: dict[str, str] = {}
    """What the renderer makes of each conversation of the corpus: a hash of it -> a hash of that."""


def links_of(asset: str, project: Project) -> Links:
    """The links of one asset, as code and settings are now."""
    stage, _, name = asset.partition("/")
    if stage in PAID:
        return Links({"number": PAID[stage]})
    settings = project.settings
    if stage == "rendered":
        made = fingerprint(project, name)
        code = code_of(project, *ENTRIES[stage], without=(*LINKED, "renderers"))
        own = {"history": project.targets[name].history, "template": made.template, "tokenizer": made.tokenizer}
        return Links({**own, "libraries": made.libraries, "code": code}, made.renderer, made.told)
    own = {"code": code_of(project, *ENTRIES[stage], without=LINKED)}
    if stage == "conversations":
        own |= {"scrub": settings.scrub.model_dump_json(), "scrubbing rules": rules_version()}
    elif stage == "masked":
        own |= _masking(project.targets[name])
    elif stage == "publication":
        own |= {"publish": settings.publish.model_dump_json()}
    return Links(own)


def code_of(project: Project, *entries: str, without: Collection[str]) -> str:
    """`Sources.version_of`, remembered in the project while no source changes; then, by what changed."""
    key = blake2b(repr((digest(), entries, sorted(without))).encode(), digest_size=16).hexdigest()
    if known := recall(project.notes / CODE / key, str):
        return known
    place = project.notes / CODE / f"modules-{reader()}"
    sources = _sources(place)
    version = sources.version_of(*entries, without=without)
    if project.folder.is_dir():
        remember(project.notes / CODE / key, version)
        if sources.news:
            remember(place, sources.told())
    return version


@cache
def _sources(place: Path) -> Sources:
    """Our sources, and what was remembered of them."""
    return Sources(recall(place, dict[str, Module]))


def _masking(target: Target) -> dict[str, str]:
    policy = target.loss_policy
    learned = f"{', '.join(sorted(policy.kinds))}{' of the last turn' if policy.last_turn_only else ''}"
    others = target.model_dump(mode="json", exclude=set(RENDERING | POLICY))
    return {"policy": learned, **{name: str(value) for name, value in others.items()}}
