"""Audits: one asset a target, one blocking check an audit."""

from base64 import b64encode
from collections.abc import Iterator

import dagster as dg
import msgspec

from pipeline.assets.stage import report, save
from pipeline.auditing import AUDITS, audit, join
from pipeline.auditing.page import PAGE, write_page
from pipeline.auditing.picture import picture
from pipeline.auditing.summary import SUMMARY, Summary
from pipeline.partitions import BATCHES
from pipeline.records import Conversation, Finding, MaskedRow, RenderedRow
from pipeline.rendering import load_tokenizer
from pipeline.resources.store import Store
from pipeline.targets import Project, Target


def audits_for(name: str, target: Target) -> dg.AssetsDefinition:
    key = dg.AssetKey(["audits", name])

    @dg.asset(
        key=key,
        partitions_def=BATCHES,
        deps=["conversations", ["rendered", name], ["masked", name]],
        kinds={"python"},
        check_specs=[
            dg.AssetCheckSpec(check, asset=key, blocking=True, description=find.__doc__)
            for check, find in AUDITS.items()
        ],
    )
    def audits(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        """What the audits find in the stored rows, read again without believing their renderer."""
        batch, summary = context.partition_key, Summary()
        tools = {"tokenizer": load_tokenizer(target, folder=project.folder), "target": target}
        manifest = save(context, store, audit(*stored(store, batch, name), **tools, summary=summary))
        image = picture(join(*stored(store, batch, name), **tools))
        cases, findings = join(*stored(store, batch, name), **tools), store.read(manifest.asset, batch, Finding)
        with store.attach(manifest, PAGE) as page, store.attach(manifest, SUMMARY) as sums:
            write_page(page, cases, findings, summary, title=f"{batch}, {name}", picture=image)
            sums.write(msgspec.json.encode(summary).decode())
        return report(
            store,
            manifest,
            checks=[verdict(check, summary) for check in AUDITS],
            verdict=summary.verdict,
            token_page=dg.MetadataValue.url((store.place(manifest.asset, batch) / PAGE).as_uri()),
            mask=dg.MetadataValue.md(f"![trained tokens](data:image/png;base64,{b64encode(image).decode()})"),
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


def verdict(check: str, summary: Summary) -> dg.AssetCheckResult:
    """An error blocks what is downstream, a warning does not."""
    errors, warnings = summary.errors.get(check, 0), summary.warnings.get(check, 0)
    return dg.AssetCheckResult(
        check_name=check,
        passed=not errors and not warnings,
        severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
        metadata={"errors": errors, "warnings": warnings, "rows": summary.rows},
    )
