"""The rows between stages.

`prompts → traces → conversations → rendered → masked → audits → publication`; a row that leaves is a `Reject`.
Frozen structs. Columns of one number a token are numpy arrays; everything else is plain JSON data.
"""

from pipeline.records.collected import (
    COST,
    GENERATION,
    SESSIONS,
    UNPRICED,
    Decoding,
    Exchange,
    LocalFile,
    Prompt,
    Status,
    Trace,
    TraceFile,
    Usage,
)
from pipeline.records.conversation import CUT, REPEATED, UNRECORDED, Conversation, Flaw, Origin, Place, Scrub
from pipeline.records.rendered import (
    Finding,
    Ids,
    MaskedRow,
    MixedRow,
    Ones,
    RenderedRow,
    RowProof,
    RowSpan,
    Severity,
    Spans,
    Stretch,
)
from pipeline.records.row import Reject, Row
from pipeline.records.stored import Manifest, Shard

Rows = Prompt | Trace | Conversation | RenderedRow | MaskedRow | MixedRow | Finding | Shard

__all__ = [
    "COST",
    "CUT",
    "GENERATION",
    "REPEATED",
    "SESSIONS",
    "UNPRICED",
    "UNRECORDED",
    "Conversation",
    "Decoding",
    "Exchange",
    "Finding",
    "Flaw",
    "Ids",
    "LocalFile",
    "Manifest",
    "MaskedRow",
    "MixedRow",
    "Ones",
    "Origin",
    "Place",
    "Prompt",
    "Reject",
    "RenderedRow",
    "Row",
    "RowProof",
    "RowSpan",
    "Rows",
    "Scrub",
    "Severity",
    "Shard",
    "Spans",
    "Status",
    "Stretch",
    "Trace",
    "TraceFile",
    "Usage",
]
