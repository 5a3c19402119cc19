"""Which columns a column is made of, as Dagster keeps it with each partition; only Dagster+ draws it.

A column that is made of none above it is left out.
"""

from collections.abc import Mapping

import dagster as dg

ASKED = "prompt system follow_up_prompts session format github_repo ref agent model sampling"
TOLD = "messages tools date flaws"
LEARNED = "spans trainable asked weights"

LINEAGE: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("traces", "prompts"): {
        "id": f"id {ASKED}",
        "prompt_id": "id",
        "prompt": "prompt",
        "agent": "agent",
        "format": "format agent",
        "files": ASKED,
        "exchanges": ASKED,
        "usage": ASKED,
        "cost_usd": ASKED,
        "status": ASKED,
        "model": "model",
        "commit": "github_repo ref",
        "metadata": "metadata",
    },
    ("conversations", "traces"): {
        "id": "id",
        "trace_id": "id",
        "prompt_id": "prompt_id",
        "window": "files",
        "messages": "files exchanges",
        "places": "files exchanges",
        "tools": "files exchanges",
        "tools_recorded": "files exchanges",
        "format": "format",
        "agent_version": "files",
        "model": "files",
        "date": "files",
        "status": "files",
        "flaws": "files exchanges",
        "unreadable": "files exchanges",
        "origin": "files",
        "checked": "files exchanges",
        "uncounted": "files",
        "metadata": "metadata files",
        "scrub": "files exchanges",
    },
    ("rendered", "conversations"): {
        "id": "id",
        "conversation_id": "id",
        "input_ids": TOLD,
        "spans": TOLD,
        "proofs": TOLD,
        "lost": TOLD,
        "trainable": TOLD,
        "asked": "messages",
        "today": "date",
        "weights": "messages flaws",
    },
    ("masked", "rendered"): {
        "id": "id",
        "conversation_id": "conversation_id",
        "input_ids": "input_ids spans",
        "labels": f"input_ids {LEARNED}",
        "attention_mask": "input_ids spans",
        "trained": LEARNED,
        "parts": "input_ids spans",
        "cut": "input_ids spans",
    },
}
"""(stage, the stage above it) -> column -> the columns that it is made of."""


def lineage_of(asset: str) -> Mapping[str, dg.TableColumnLineage]:
    """Of an asset's columns, as metadata; nothing where rows do not come of rows."""
    stage, _, target = asset.partition("/")
    for (own, above), columns in LINEAGE.items():
        if own == stage:
            key = dg.AssetKey([above, target] if above in ("rendered", "masked") else [above])
            told = {column: [dg.TableColumnDep(key, one) for one in of.split()] for column, of in columns.items()}
            return {"dagster/column_lineage": dg.TableColumnLineage(told)}
    return {}
