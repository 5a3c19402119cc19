"""What every asset does: write a partition of rows, and report it to Dagster."""

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg
import msgspec
import numpy as np

from pipeline.columns import schema_of
from pipeline.records import Manifest, Reject, Row
from pipeline.resources.store import ROWS, Store

PREVIEW_ROWS, PREVIEW_CELL = 5, 60


def save(
    context: dg.AssetExecutionContext,
    store: Store,
    rows: Iterable[Row | Reject],
    *,
    each_of: str | None = None,
    inputs: Mapping[str, str] | None = None,
) -> Manifest:
    """Write this run's partition of its asset. `each_of`: the asset whose every row must be kept or rejected."""
    spec, batch = context.assets_def.specs_by_key[context.asset_key], context.partition_key
    above = {dep.asset_key.to_user_string(): store.known(dep.asset_key.to_user_string(), batch) for dep in spec.deps}
    return store.write(
        context.asset_key.to_user_string(),
        batch,
        rows,
        code_version=spec.code_version or "",
        inputs={**{name: made.data_version for name, made in above.items()}, **(inputs or {})},
        rows_in=above[each_of].rows if each_of else None,
    )


def report(
    store: Store, manifest: Manifest, *, checks: Sequence[dg.AssetCheckResult] = (), **metadata: Any
) -> dg.MaterializeResult:
    """What people see of a partition in Dagster."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.data_version),
        check_results=list(checks),
        metadata={
            "dagster/row_count": manifest.rows,
            "dagster/column_schema": columns(ROWS[manifest.asset.partition("/")[0]]),
            "rejected": sum(manifest.rejects.values()),
            "bytes": manifest.bytes,
            "path": dg.MetadataValue.path(store.place(manifest.asset, manifest.batch) / manifest.rows_file),
            **manifest.measures,
            **_fractions(manifest.measures),
            **({"rejects": rejects(store, manifest)} if manifest.rejects else {}),
            **({"preview": preview(store, manifest)} if manifest.rows else {}),
            **metadata,
        },
    )


def survived(manifest: Manifest) -> dg.AssetCheckResult:
    """A partition of nothing stops the run: there is nothing to make of it."""
    metadata = {"rows": manifest.rows, **{f"rejected: {reason}": n for reason, n in manifest.rejects.items()}}
    return dg.AssetCheckResult(check_name="some_row_survived", passed=manifest.rows > 0, metadata=metadata)


def rejects(store: Store, manifest: Manifest) -> dg.TableMetadataValue:
    """Rejects by reason, each with one as an example."""
    first: dict[str, str] = {}
    for reject in store.rejects(manifest.asset, manifest.batch):
        first.setdefault(reject.reason, f"{reject.id}: {reject.detail}")
    return dg.MetadataValue.table(
        [dg.TableRecord({"reason": r, "rows": n, "example": first[r]}) for r, n in manifest.rejects.items()]
    )


def preview(store: Store, manifest: Manifest) -> dg.MarkdownMetadataValue:
    """The first rows, their values cut short."""
    row = ROWS[manifest.asset.partition("/")[0]]
    rows = list(islice(store.read(manifest.asset, manifest.batch, row), PREVIEW_ROWS))
    fields = row.__struct_fields__
    lines = [fields, ["---"] * len(fields), *([_cell(getattr(one, name)) for name in fields] for one in rows)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def columns(row: type[Row]) -> dg.TableSchema:
    """A row type as Dagster shows it."""
    parents = [cls for cls in reversed(row.__mro__) if issubclass(cls, Row)]
    docs = {name: doc for cls in parents for name, doc in _field_docs(cls).items()}
    return dg.TableSchema([dg.TableColumn(f.name, str(f.type), description=docs.get(f.name)) for f in schema_of(row)])


def _field_docs(cls: type) -> dict[str, str]:
    """The strings under a class's fields."""
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[ast.unparse(field.target)] = str(below.value.value)
    return docs


def _fractions(measures: Mapping[str, int]) -> dict[str, float]:
    tokens, trained = measures.get("tokens", 0), measures.get("trained")
    return {} if trained is None or not tokens else {"trained fraction": trained / tokens}


def _cell(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = f"{len(value):,}: {' '.join(map(str, value[:6].tolist()))} …"
    elif isinstance(value, tuple):
        value = value[:3]
    told = value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8", "replace")
    told = " ".join(told.split()).replace("|", "\\|")
    return told if len(told) <= PREVIEW_CELL else f"{told[: PREVIEW_CELL - 1]}…"
