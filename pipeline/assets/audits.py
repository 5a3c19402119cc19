"""Audits: one asset a target, one blocking check an audit."""

import dagster as dg

from pipeline.assets.stage import report, save
from pipeline.auditing import AUDITS, audit
from pipeline.auditing.summary import Summary
from pipeline.partitions import BATCHES
from pipeline.records import Conversation, MaskedRow, RenderedRow
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
        check_specs=[dg.AssetCheckSpec(check, asset=key, blocking=True) for check in AUDITS],
    )
    def audits(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        """What the audits find in the stored rows, read again without believing their renderer."""
        batch, summary = context.partition_key, Summary()
        findings = audit(
            store.read("conversations", batch, Conversation),
            store.read(f"rendered/{name}", batch, RenderedRow),
            store.read(f"masked/{name}", batch, MaskedRow),
            tokenizer=load_tokenizer(target, folder=project.folder),
            target=target,
            summary=summary,
        )
        manifest = save(context, store, findings)
        return report(store, manifest, checks=[verdict(check, summary) for check in AUDITS], verdict=summary.verdict)

    return audits


def verdict(check: str, summary: Summary) -> dg.AssetCheckResult:
    """An error blocks what is downstream, a warning does not."""
    errors, warnings = summary.errors.get(check, 0), summary.warnings.get(check, 0)
    return dg.AssetCheckResult(
        check_name=check,
        passed=not errors and not warnings,
        severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
        metadata={"errors": errors, "warnings": warnings, "rows": summary.rows},
    )
