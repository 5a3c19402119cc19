"""Conversations as files for others: rows as OpenAI writes them, or traces that the Hub shows."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.converting import simple as simple_format
from pipeline.gathering import read
from pipeline.records import Conversation, Reject
from pipeline.resources.machine import names_of_this_machine
from pipeline.resources.salt import salt_of
from pipeline.scrubbing import scrub
from pipeline.targets import Scrubbing
from renderers.hub import to_hub

TOLD = ("trace_id", "window", "format", "agent_version", "model", "date", "status", "checked", "origin", "uncounted")
"""What a row's metadata say of where it comes from."""
HOME = Path("~/.tracemill")
Seen = Callable[[str, int], None]


def row_of(conversation: Conversation) -> dict[str, Any]:
    """The conversation as `messages, tools, metadata`. An answer that is not to be learned weighs 0."""
    flaws = {flaw.message: flaw.reason for flaw in conversation.flaws}
    messages = [m.but(weight=0.0) if at in flaws else m for at, m in enumerate(conversation.messages)]
    said = {name: getattr(conversation, name) for name in TOLD}
    marks = {
        "flaws": {str(message): reason for message, reason in flaws.items()},
        "unreadable_reasoning": list(conversation.unreadable),
        "tools_recorded": conversation.tools_recorded,
    }
    metadata = {**conversation.metadata, "id": conversation.id, **msgspec.to_builtins(said), **marks}
    return {"messages": to_hub(messages), "tools": list(conversation.tools), "metadata": metadata}


def export(
    sources: Sequence[str],
    out: Path,
    *,
    format: str | None = None,  # noqa: A002
    split: str = "train",
    revision: str | None = None,
    simple: bool = False,
    scrubbing: Literal["replace", "report", "reject", "off"] = "replace",
    seen: Seen = lambda name, rows: None,
) -> Counter[str]:
    """Writes the conversations of all sources and, beside them, what could not be told. Counts both.

    The file is replaced once it is whole. Raises SettingsError for a source that is none.
    """
    where = {"format": format, "split": split, "revision": revision, "token": None}
    told = (row for source in sources for row in _seen(read(source, **where), source, seen))
    settings = Scrubbing(mode=scrubbing, identity=() if scrubbing == "off" else names_of_this_machine())
    rows = scrub(told, settings, salt=salt_of(HOME.expanduser()) if scrubbing == "replace" else b"")
    return _written(rows, out, simple=simple)


def rejects_of(out: Path) -> Path:
    """Where stands what could not be told."""
    return out.with_name(f"{out.stem}.rejects.jsonl")


def _seen(rows: Iterable[Conversation | Reject], source: str, seen: Seen) -> Iterator[Conversation | Reject]:
    for number, row in enumerate(rows, 1):
        seen(source, number)
        yield row


def _written(rows: Iterable[Conversation | Reject], out: Path, *, simple: bool) -> Counter[str]:
    counted: Counter[str] = Counter(conversations=0)
    out.parent.mkdir(parents=True, exist_ok=True)
    if simple:
        out.mkdir(exist_ok=True)
    fresh = out.with_name(f".{out.name}.new")
    left = rejects_of(out)
    with fresh.open("wb") as lines, left.open("wb") as rejects:
        for row in rows:
            if isinstance(row, Reject):
                counted[row.reason] += 1
                rejects.write(msgspec.json.encode(row) + b"\n")
                continue
            counted["conversations"] += 1
            if simple:
                name = "".join(c if c.isalnum() or c in "-._" else "-" for c in row.id)
                (out / f"{name}.jsonl").write_bytes(b"".join(simple_format.write(row, harness=row.format)))
            else:
                lines.write(msgspec.json.encode(row_of(row)) + b"\n")
    if simple:
        fresh.unlink()
    else:
        os.replace(fresh, out)
    if len(counted) == 1:
        left.unlink()
    return counted
