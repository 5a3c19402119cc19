"""Audits: one asset a target, one blocking check an audit."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from heapq import nsmallest
from operator import attrgetter

import dagster as dg
import msgspec

from pipeline.assets.stage import blocking_check, report, save, table
from pipeline.auditing import AUDITS, audit, join
from pipeline.auditing.page import PAGE, write_page
from pipeline.auditing.picture import glimpse, picture
from pipeline.auditing.summary import SUMMARY, Summary
from pipeline.loading import load_tokenizer
from pipeline.partitions import BATCHES
from pipeline.records import Conversation, Finding, MaskedRow, RenderedRow
from pipeline.resources.store import Store
from pipeline.targets import Project, Target

MOST_FINDINGS = 50
GLIMPSE = 700
"""Bytes: as base64, what Dagster shows inline (markdown of fewer than 1,000 characters)."""


def audits_for(name: str, target: Target) -> dg.AssetsDefinition:
    key = dg.AssetKey(["audits", name])

    @dg.asset(
        key=key,
        partitions_def=BATCHES,
        deps=["conversations", ["rendered", name], ["masked", name]],
        kinds={"python"},
        check_specs=[blocking_check(key, check, description=find.__doc__) for check, find in AUDITS.items()],
    )
    def audits(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        """What the audits find in the stored rows, read again without believing their renderer."""
        batch, summary = context.partition_key, Summary()
        tools = {"tokenizer": load_tokenizer(target, folder=project.folder), "target": target}
        manifest = save(context, store, audit(*stored(store, batch, name), **tools, summary=summary))
        image = picture(join(*stored(store, batch, name), **tools))
        cases, findings = (
            join(*stored(store, batch, name), **tools),
            partial(store.read, manifest.asset, batch, Finding),
        )
        with store.attach(manifest, PAGE) as page, store.attach(manifest, SUMMARY) as sums:
            write_page(page, cases, findings(), summary, title=f"{batch}, {name}", picture=image)
            sums.write(msgspec.json.encode(summary).decode())
        return report(
            store,
            manifest,
            checks=[verdict(check, summary, findings()) for check in AUDITS],
            verdict=summary.verdict,
            mask=shown(glimpse(image, room=GLIMPSE), "webp"),
            mask_with_legend=shown(image, "png"),
            token_page=dg.MetadataValue.path(str(store.place(manifest.asset, batch) / PAGE)),
            **found(findings()),
            previewed=False,
        )

    return audits


def stored(
    store: Store, batch: str, name: str
) -> tuple[Iterator[Conversation], Iterator[RenderedRow], Iterator[MaskedRow]]:
    """What an audit reads."""
    return (
        store.read("conversations", batch, Conversation),
        store.read(f"rendered/{name}", batch, RenderedRow),
        store.read(f"masked/{name}", batch, MaskedRow),
    )


def verdict(check: str, summary: Summary, findings: Iterable[Finding]) -> dg.AssetCheckResult:
    """An error blocks what is downstream, a warning does not."""
    errors, warnings = summary.errors.get(check, 0), summary.warnings.get(check, 0)
    own = found(finding for finding in findings if finding.audit == check)
    return dg.AssetCheckResult(
        check_name=check,
        passed=not errors and not warnings,
        severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
        metadata={"errors": errors, "warnings": warnings, "rows": summary.rows, **own},
    )


def found(findings: Iterable[Finding]) -> Mapping[str, dg.TableMetadataValue]:
    """The first findings, errors before warnings; nothing where there is none."""
    first = nsmallest(MOST_FINDINGS, findings, key=attrgetter("severity"))
    rows = [
        {
            "severity": finding.severity,
            "audit": finding.audit,
            "detail": finding.detail,
            "row": finding.row,
            "message": "" if finding.message < 0 else str(finding.message),
        }
        for finding in first
    ]
    return {"findings": table(rows)} if rows else {}


def shown(image: bytes, kind: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![trained tokens](data:image/{kind};base64,{b64encode(image).decode()})")
