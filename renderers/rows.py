"""What a trainer reads of a rendered conversation: a row of arrays, and rows as one padded table."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from renderers.errors import UnknownFlag
from renderers.masking import IGNORED, LossPolicy, labels
from renderers.rendered import Rendered

Row = dict[str, np.ndarray]
"""int64: `input_ids`, `labels` (-100 where nothing is learned), `action_mask` (1 where it is), `attention_mask`."""
Side = Literal["right", "left"]
PADDING = {"input_ids": 0, "labels": IGNORED, "action_mask": 0, "attention_mask": 0}
"""What a row is filled up with; ids with a token of choice."""


def row_of(rendered: Rendered, policy: LossPolicy, *, max_length: int | None = None) -> Row:
    """A conversation as a row, (tokens,); what is longer than `max_length` is cut off at its end."""
    if max_length is not None and max_length < 1:
        raise UnknownFlag(f"max_length={max_length}: takes a number of tokens from 1, or None for all of them")
    ids, learned = rendered.ids[:max_length], labels(rendered, policy)[:max_length]
    return {
        "input_ids": ids.astype(np.int64),
        "labels": learned.astype(np.int64),
        "action_mask": (learned != IGNORED).astype(np.int64),
        "attention_mask": np.ones(len(ids), np.int64),
    }


def table_of(rows: Sequence[Row], *, side: Side = "right", padding: int = 0) -> Row:
    """Rows as one table, (rows, longest): `side` is filled up, ids with the token `padding`."""
    if side not in get_args(Side):
        raise UnknownFlag(f"padding_side={side!r}: takes {', '.join(get_args(Side))}")
    longest = max((len(row["input_ids"]) for row in rows), default=0)
    filling = PADDING | {"input_ids": padding}
    return {name: _padded([row[name] for row in rows], longest, filling[name], side) for name in PADDING}


def _padded(rows: Sequence[np.ndarray], longest: int, filling: int, side: Side) -> np.ndarray:
    table = np.full((len(rows), longest), filling, np.int64)
    for row, values in zip(table, rows, strict=True):
        start = longest - len(values) if side == "left" else 0
        row[start : start + len(values)] = values
    return table
