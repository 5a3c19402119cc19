"""Rows with `messages` as most are: told as they are decoded, without a dict of each message.

What `messages` would have to look into (a message of other fields or of parts, a column that no row before had, a
`system` of its own, half a pair of surrogates, what is no JSON) is left to it.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from pipeline.converting.lines import NO_JSON
from pipeline.converting.messages import pointers_of, told_of
from pipeline.converting.rows import MISSHAPEN, Told, plain, row_of, specs
from pipeline.errors import TraceError
from pipeline.records import Place
from renderers.hub import HubMessage, of_hub

COLUMNS = 64
"""A file whose rows have more that nobody reads is read the long way."""
MISSES = 64
"""After so many lines that are none of these, there will be no more."""
UNCALLED = re.compile(r'["\\\x00-\x1f]')
"""What no field of a struct may be called."""
NONE = msgspec.Raw(b"null")


class Row(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What is told of a row. What else the rows of a file have is in a subclass: decoded too, as it might be broken."""

    messages: list[HubMessage]
    tools: msgspec.Raw = NONE
    """Where a row has two, they are the last; the others are only skipped."""
    metadata: Any = None
    model: Any = None
    usage: Any = None
    id: Any = None
    system: None = None
    functions: None = None


class Usual:
    """Reads the lines of one file: such rows as they are told, others as they are."""

    def __init__(self) -> None:
        self.columns: frozenset[str] = frozenset()
        """What the rows have that nobody reads, as far as they were seen."""
        self.missed = 0
        """Lines since the last such row."""
        self.decode = decoder(self.columns)

    def __call__(self, line: bytes, place: Place) -> Any:
        if self.missed < MISSES and (told := self.told(line)):
            self.missed = 0
            return told
        self.missed += 1
        row = row_of(line, place)
        columns = self.columns.union(row).difference(Row.__struct_fields__) if isinstance(row, dict) else self.columns
        if self.columns < columns and len(columns) <= COLUMNS:
            self.decode, self.columns = decoder(columns), columns
        return row

    def told(self, line: bytes) -> Told | None:
        """A row as it is told; None where it has to be looked into."""
        try:
            row = self.decode(line)
            recorded, tools = offer(bytes(row.tools))
            messages, metadata = of_hub(row.messages), plain(row.metadata) if row.metadata else {}
            pointers = pointers_of("messages", len(messages))
            told = told_of(messages, pointers, tools, recorded, metadata, row.model, row.usage, row.id)
            return told if messages else None
        except (*NO_JSON, *MISSHAPEN, TraceError):
            return None


@lru_cache(maxsize=64)
def decoder(columns: frozenset[str]) -> Callable[[bytes], Any]:
    """Decodes rows with these columns. One that msgspec cannot call so stays unknown."""
    called = {f"column_{number}": name for number, name in enumerate(sorted(columns)) if not UNCALLED.search(name)}
    fields = [(field, Any, None) for field in called]
    shape = msgspec.defstruct("Columns", fields, bases=(Row,), rename=called, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(shape).decode


@lru_cache(maxsize=256)
def offer(tools: bytes) -> tuple[bool, tuple[dict[str, Any], ...]]:
    """Whether tools were recorded, and which: decoded once for all rows that were offered the same."""
    value = msgspec.json.decode(tools)
    return value is not None, specs(value)
