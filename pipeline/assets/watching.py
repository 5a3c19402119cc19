"""What is watched of the whole project, apart from its batches: is it in sync, and are its pins the latest?"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from pipeline.assets.stage import table
from pipeline.drifting import Drift, drift
from pipeline.errors import TokenizerUnavailable
from pipeline.resources.store import Store
from pipeline.staleness import Stale, stale, upstream
from pipeline.targets import Project, Target
from renderers.errors import RendererError

GROUP = "0_watch"
LOOKED = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=7), warn_window=timedelta(hours=36))
"""What is said here is of a moment. Rows have no such limit: they are as good as what they were made from."""
MOST_SHOWN = 50


@dg.asset(
    group_name=GROUP,
    code_version="1",
    kinds={"python"},
    freshness_policy=LOOKED,
    check_specs=[dg.AssetCheckSpec("in_sync", asset="staleness", description="No partition of any asset is stale.")],
)
def staleness(project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
    """Which partitions of which assets are not what they would be if they were made now, and why."""
    behind = stale(project, store)
    counts = {asset: sum(one.asset == asset for one in behind) for asset in upstream(project)}
    check = dg.AssetCheckResult(
        check_name="in_sync",
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"stale partitions": len(behind), **{f"stale: {asset}": n for asset, n in counts.items() if n}},
    )
    told = {"stale partitions": len(behind), "staleness": dg.MetadataValue.md(page(behind))}
    return dg.MaterializeResult(metadata=told, check_results=[check])


def page(behind: Sequence[Stale]) -> str:
    """Stale partitions, as Markdown."""
    if not behind:
        return "every partition is in sync"
    rows = [f"| {o.asset} | {o.batch} | {o.reason.replace('|', '/')} |" for o in behind[:MOST_SHOWN]]
    more = [f"\nand {len(behind) - MOST_SHOWN:,} more"] if len(behind) > MOST_SHOWN else []
    return "\n".join(["| asset | partition | reason |", "|---|---|---|", *rows, *more])


def pins_of(targets: Mapping[str, Target]) -> dg.AssetsDefinition:
    told = "The pinned revision writes what the latest one does. Publishing stays on the pin until somebody changes it."
    checks = [dg.AssetCheckSpec(f"{name}_pin_is_latest", asset="pins", description=told) for name in targets]

    @dg.asset(group_name=GROUP, code_version="1", kinds={"huggingface"}, freshness_policy=LOOKED, check_specs=checks)
    def pins(project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
        """Whether template or tokenizer of a target have moved on since the revision that it pins."""
        return dg.MaterializeResult(check_results=[pin(name, target, project) for name, target in targets.items()])

    return pins


def pin(name: str, target: Target, project: Project) -> dg.AssetCheckResult:
    """One target's: red where it writes otherwise now; a Hub that does not answer proves nothing, and is a warning."""
    severity, passed = dg.AssetCheckSeverity.ERROR, False
    try:
        found = drift(target, folder=project.folder)
        passed, metadata = not (found and found.differs), drifted(found)
    except RendererError as error:
        metadata = {"the latest cannot be rendered with": f"{type(error).__name__}: {error}"}
    except (TokenizerUnavailable, OSError) as error:
        severity, metadata = dg.AssetCheckSeverity.WARN, {"not asked": f"{type(error).__name__}: {error}"}
    return dg.AssetCheckResult(check_name=f"{name}_pin_is_latest", passed=passed, severity=severity, metadata=metadata)


def drifted(found: Drift | None) -> Mapping[str, Any]:
    """What has moved on, with the smallest conversation that shows it."""
    if found is None:
        return {"pinned": "a folder: it has no revisions"}
    told: dict[str, Any] = {
        "pinned": found.pinned,
        "latest": found.latest,
        "changed": ", ".join(found.changed) or "nothing",
    }
    if found.differs:
        told["conversations that differ"] = f"{found.differs} of {found.of}"
        told["the smallest"] = table([{"pinned": found.was, "latest": found.now}])
    return told
