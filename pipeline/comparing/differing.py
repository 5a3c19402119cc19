"""The rendering diff of partitions: what would change, or what has."""

from collections.abc import Iterator, Sequence
from functools import cache

import msgspec

from pipeline.comparing.causes import Diff, Tally, compare
from pipeline.comparing.sides import Partitions, Side, as_it_was, before, is_revision, pairs, present, revision, stored
from pipeline.errors import SettingsError
from pipeline.loading import load_tokenizer
from pipeline.records import Manifest
from pipeline.targets import Project
from renderers.tokenizer import Tokenizer

PREVIOUS = "previous"
"""The rows that the stored ones replaced."""


class Difference(msgspec.Struct):
    """The diff of one target, over some partitions."""

    target: str
    was: str
    """What is compared, in words,"""
    now: str
    """and with what."""
    batches: list[str]
    """Those that differ."""
    same: int
    """Batches that do not."""
    diff: Diff


def differences(
    project: Project, store: Partitions, batches: Sequence[str], *, targets: Sequence[str], against: str | None = None
) -> list[Difference]:
    """Each target's diff: what is stored against what the code of now makes; nothing is written.

    against: `previous`, what the stored rows replaced; a code version, or how it begins, that made stored rows or
    those which they replaced; a git revision, whose code is run. Raises SettingsError where it is none of these.
    """
    return [_difference(project, store, batches, name, against) for name in targets]


def _difference(
    project: Project, store: Partitions, batches: Sequence[str], name: str, against: str | None
) -> Difference:
    tally, tokenizer = Tally(), load_tokenizer(project.targets[name], folder=project.folder)
    found = Difference(name, against or "stored", "stored" if against == PREVIOUS else "code of now", [], 0, Diff())
    for batch in batches:
        old = _old(project, store, batch, name, against)
        new = stored(store, batch, name) if against == PREVIOUS else present(project, store, batch, name)
        known = tally.diff.changed + tally.diff.appeared + tally.diff.gone
        for was, now in pairs(old, new):
            tally.add(was, now, tokenizer)
        differs = tally.diff.changed + tally.diff.appeared + tally.diff.gone > known
        found.batches += [batch] if differs else []
        found.same += not differs
    found.diff = tally.result()
    return found


def _old(project: Project, store: Partitions, batch: str, name: str, against: str | None) -> Iterator[Side]:
    if against is None:
        return stored(store, batch, name)
    replaced = before(store, batch, name)
    if against == PREVIOUS:
        return replaced[1] if replaced else stored(store, batch, name)
    if store.known(f"masked/{name}", batch).code_version.startswith(against):
        return stored(store, batch, name)
    if replaced and replaced[0].startswith(against):
        return replaced[1]
    if _revision(against):
        return revision(project, store, batch, name, against)
    made = store.known(f"masked/{name}", batch).code_version
    kept = ", ".join([made, *([replaced[0]] if replaced else [])])
    raise SettingsError(f"{against} is no git revision here and made no rows of masked/{name}/{batch}: {kept} did")


@cache
def _revision(at: str) -> bool:
    return is_revision(at)


def replaced(store: Partitions, was: Manifest | None, now: Manifest, tokenizer: Tokenizer) -> Diff | None:
    """What a run has changed in a masked partition; None where there was none before, or it is not kept."""
    old = as_it_was(store, was) if was else None
    if old is None:
        return None
    return compare(pairs(old, stored(store, now.batch, now.asset.partition("/")[2])), tokenizer)
