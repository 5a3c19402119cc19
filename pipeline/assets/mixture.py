"""Mixtures: rows of many batches and of others, in given shares."""

import dagster as dg
import msgspec

from pipeline.assets.stage import report, table
from pipeline.blending import WHOLE, candidates, grams_of, mixture_inputs
from pipeline.errors import SettingsError
from pipeline.mixing import shares
from pipeline.mixing.mix import MixReport, mix
from pipeline.mixtures import Mixture
from pipeline.resources.judge import ChatJudge
from pipeline.resources.salt import salt_of
from pipeline.resources.store import Store
from pipeline.targets import SETTINGS, Project

REPORT = "report.json"


def mixture_for(name: str, mixture: Mixture) -> dg.AssetsDefinition:
    """Raises SettingsError for shares that make no mixture: before anything is read, or a judge is paid."""
    key = dg.AssetKey(["mixture", name])
    try:
        shares({source: asked.shares for source, asked in mixture.sources.items()})
    except SettingsError as error:
        raise SettingsError(f"{SETTINGS}: mixtures.{name}: {error}") from error

    @dg.asset(
        key=key,
        deps=["prompts", "conversations", ["masked", mixture.target]],
        kinds={"parquet"},
        pool="agents" if mixture.curate.judge else None,  # what calls models
        check_specs=[
            dg.AssetCheckSpec("nothing_leaks", asset=key, description="No group is in two splits."),
            dg.AssetCheckSpec("every_share_has_rows", asset=key, description="No share is too small for a row."),
        ],
    )
    def mixed(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        """Rows of all sources in their shares: curated, split so that nothing leaks, packed."""
        inputs = mixture_inputs(project, mixture, store)
        judge = mixture.curate.judge
        grader = ChatJudge(judge, project.notes / ".judge") if judge else None
        found = candidates(project, mixture, store, salt=salt_of(project.data))
        rows, told = mix(found, mixture, grams=grams_of(project, mixture), grader=grader)
        version = context.assets_def.specs_by_key[key].code_version or ""
        manifest = store.write(f"mixture/{name}", WHOLE, rows, code_version=version, inputs=inputs)
        with store.attach(manifest, REPORT) as file:
            file.write(msgspec.json.format(msgspec.json.encode(told)).decode())
        leaks = dg.AssetCheckResult(
            check_name="nothing_leaks", passed=not any(told.crossings.values()), metadata=told.crossings
        )
        heard = dg.AssetCheckResult(
            check_name="every_share_has_rows",
            passed=not told.unheard,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"unheard": told.unheard},
        )
        return report(
            store,
            manifest,
            checks=[leaks, heard],
            shares=shown(told),
            splits=told.splits,
            groups=told.groups,
            fill=told.fill,
        )

    return mixed


def shown(told: MixReport) -> dg.TableMetadataValue:
    """Asked and realized shares."""
    return table([{**msgspec.to_builtins(share), "asked": share.asked or ""} for share in told.shares])
