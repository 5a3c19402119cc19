"""Secrets and personal data leave the conversations: the stage between converting and storing."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from pipeline.records import Conversation, Reject, Scrub
from pipeline.scrubbing.leaves import leaves, rewritten
from pipeline.scrubbing.placeholders import replaced
from pipeline.scrubbing.secrets import find, rules_version
from pipeline.targets import Scrubbing

SCRUBBED = ("messages", "tools", "metadata", "origin")
"""Fields of a conversation that hold what people and machines said."""


def scrub(
    rows: Iterable[Conversation | Reject], settings: Scrubbing, *, salt: bytes
) -> Iterator[Conversation | Reject]:
    """Each conversation without what must not leave, and a note of what was found; or a reject, if that is asked."""
    for row in rows:
        yield row if isinstance(row, Reject) or settings.mode == "off" else _scrubbed(row, settings, salt)


def _scrubbed(row: Conversation, settings: Scrubbing, salt: bytes) -> Conversation | Reject:
    told = {name: msgspec.to_builtins(getattr(row, name)) for name in SCRUBBED}
    texts = list(dict.fromkeys(leaves(list(told.values()))))
    hits = {text: found for text, found in zip(texts, find(texts, settings.identity), strict=True) if found}
    counted: dict[str, int] = {}
    for text in leaves(list(told.values())):
        for hit in hits.get(text, ()):
            counted[hit.kind] = counted.get(hit.kind, 0) + 1
    if settings.mode == "reject" and hits:
        kinds = ", ".join(f"{kind} ({n})" for kind, n in counted.items())
        return Reject(id=row.id, stage="conversations", reason="secret", detail=f"{_place(row, hits)}: {kinds}")
    note = Scrub(done="reported" if settings.mode == "report" else "replaced", rules=rules_version(), found=counted)
    if not hits or settings.mode == "report":
        return msgspec.structs.replace(row, scrub=note)
    clean = {text: replaced(text, found, salt) for text, found in hits.items()}
    changed = {name: rewritten(value, lambda text: clean.get(text, text)) for name, value in told.items()}
    return msgspec.convert({**msgspec.to_builtins(row), **changed, "scrub": msgspec.to_builtins(note)}, Conversation)


def _place(row: Conversation, hits: dict[str, Any]) -> str:
    """Where the first of them stands."""
    for index, message in enumerate(row.messages):
        if any(text in hits for text in leaves(msgspec.to_builtins(message))):
            place = f"{row.places[index].file}:{row.places[index].line}, " if index < len(row.places) else ""
            return f"{place}message {index}"
    return "tools, metadata or origin"
