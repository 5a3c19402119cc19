"""What every asset does: write a partition of rows, and report it to Dagster."""

import ast
import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg
import msgspec
import numpy as np
import pyarrow as pa

from pipeline.assets.lineage import lineage_of
from pipeline.columns import schema_of
from pipeline.partitions import BATCHES
from pipeline.records import Manifest, Reject, Row, Spans
from pipeline.resources.store import ROWS, Store

PREVIEW_ROWS, PREVIEW_CELL = 5, 80
EMPTY = ("", "null", "[]", "{}")


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
    store: Store,
    manifest: Manifest,
    *,
    checks: Sequence[dg.AssetCheckResult] = (),
    previewed: bool = True,
    **metadata: Any,
) -> dg.MaterializeResult:
    """What people see of a partition in Dagster."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.data_version),
        check_results=list(checks),
        metadata={
            "dagster/row_count": manifest.rows,
            "dagster/column_schema": columns(ROWS[manifest.asset.partition("/")[0]]),
            **lineage_of(manifest.asset),
            **metadata,
            **manifest.measures,
            **_fractions(manifest.measures),
            "rejected": sum(manifest.rejects.values()),
            **({"rejects": rejects(store, manifest)} if manifest.rejects else {}),
            **({"preview": preview(store, manifest)} if previewed and manifest.rows else {}),
            "bytes": manifest.bytes,
            "path": dg.MetadataValue.path(str(store.file(manifest.asset, manifest.batch, "rows_file"))),
        },
    )


def blocking_check(asset: dg.AssetKey, name: str, *, description: str | None = None) -> dg.AssetCheckSpec:
    """A check told for each batch, or a batch that passes would hide one that did not.

    Dagster calls this a preview; our tests hold the version in the lock to it.
    """
    with warnings.catch_warnings(action="ignore", category=dg.PreviewWarning):
        return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=True, partitions_def=BATCHES)


def survived(manifest: Manifest) -> dg.AssetCheckResult:
    """A partition of nothing stops the run: there is nothing to make of it."""
    metadata = {"rows": manifest.rows, **{f"rejected: {reason}": n for reason, n in manifest.rejects.items()}}
    return dg.AssetCheckResult(check_name="some_row_survived", passed=manifest.rows > 0, metadata=metadata)


def rejects(store: Store, manifest: Manifest) -> dg.TableMetadataValue:
    """Rejects by reason, each with one as an example."""
    first: dict[str, str] = {}
    for reject in store.rejects(manifest.asset, manifest.batch):
        first.setdefault(reject.reason, f"{reject.id}: {reject.detail}")
    return table([{"reason": r, "rows": n, "example": first[r]} for r, n in manifest.rejects.items()])


def preview(store: Store, manifest: Manifest) -> dg.TableMetadataValue:
    """The first rows, their values cut short. Left out: ids of other rows, and what all of them lack."""
    row = ROWS[manifest.asset.partition("/")[0]]
    rows = islice(store.read(manifest.asset, manifest.batch, row), PREVIEW_ROWS)
    cells = [{name: _cell(getattr(one, name)) for name in row.__struct_fields__} for one in rows]
    own = [name for name in row.__struct_fields__ if not name.endswith("_id")]
    held = [name for name in own if any(one[name] not in EMPTY for one in cells)]
    return table([{name: one[name] for name in held} for one in cells])


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows where Dagster shows them at once: it hides markdown of 1,000 characters and more behind a click."""
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def columns(row: type[Row]) -> dg.TableSchema:
    """A row type as Dagster shows it."""
    parents = [cls for cls in reversed(row.__mro__) if issubclass(cls, Row)]
    docs = {name: doc for cls in parents for name, doc in _field_docs(cls).items()}
    return dg.TableSchema([dg.TableColumn(f.name, _type(f.type), description=docs.get(f.name)) for f in schema_of(row)])


def _field_docs(cls: type) -> dict[str, str]:
    """The strings under a class's fields."""
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[ast.unparse(field.target)] = str(below.value.value)
    return docs


def _type(stored: pa.DataType) -> str:
    """A column's type; what a struct holds would fill the screen."""
    told, struct, _ = str(stored).partition("struct<")
    return f"{told}struct<…" if struct else told


def _fractions(measures: Mapping[str, int]) -> dict[str, float]:
    tokens, trained = measures.get("tokens", 0), measures.get("trained")
    return {} if trained is None or not tokens else {"trained fraction": trained / tokens}


def _cell(value: Any) -> str:
    """A value in one line. Of many, the last: first messages are all alike."""
    if isinstance(value, np.ndarray):
        told = f"{len(value):,}: {' '.join(map(str, value[:3].tolist()))} …"
    elif isinstance(value, tuple | Spans) and value:
        told = f"{len(value):,}, last: {_text(value[-1])}"
    else:
        told = _text(value)
    told = " ".join(told.split())
    return told if len(told) <= PREVIEW_CELL else f"{told[: PREVIEW_CELL - 1]}…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(_begun(value)).decode("utf-8", "replace")


def _begun(value: Any) -> Any:
    """Of a session's bytes no more than is shown: nobody reads a copy of all of them."""
    if isinstance(value, bytes):
        return value[:PREVIEW_CELL]
    if isinstance(value, msgspec.Struct):
        return {name: _begun(getattr(value, name)) for name in value.__struct_fields__}
    return value
