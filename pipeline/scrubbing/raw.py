"""Session files without secrets: what may be published of a raw trace.

A line in which nothing is found stays as it is, byte for byte; one in which something is found is the same JSON with
placeholders. The stored trace is never touched.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.scrubbing.leaves import leaves, rewritten
from pipeline.scrubbing.placeholders import replaced
from pipeline.scrubbing.secrets import find

CHUNK = 1 << 20
"""Bytes that are scanned together."""


def scrub_lines(
    lines: Iterable[bytes], *, salt: bytes, identity: tuple[str, ...] = (), found: Counter[str] | None = None
) -> Iterator[bytes]:
    """Each line (JSON, or not) without secrets and personal data. `found` counts what was replaced, by kind."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= CHUNK:
            yield from _scrubbed(held, salt, identity, found)
            held, size = [], 0
    yield from _scrubbed(held, salt, identity, found)


def _scrubbed(
    lines: list[bytes], salt: bytes, identity: tuple[str, ...], found: Counter[str] | None
) -> Iterator[bytes]:
    values = [_decoded(line) for line in lines]
    texts = list(dict.fromkeys(leaves(values)))
    hits = {text: hit for text, hit in zip(texts, find(texts, identity), strict=True) if hit}
    clean = {text: replaced(text, hit, salt) for text, hit in hits.items()}
    for line, value in zip(lines, values, strict=True):
        touched = [text for text in leaves(value) if text in hits] if hits else []
        if found is not None:
            found.update(hit.kind for text in touched for hit in hits[text])
        yield _respelled(line, value, clean) if touched else line


def _decoded(line: bytes) -> Any:
    """What a line holds; its text, if that is not JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line.decode("utf-8", "surrogateescape")


def _respelled(line: bytes, value: Any, clean: Mapping[str, str]) -> bytes:
    told = rewritten(value, lambda text: clean.get(text, text))
    if value == line.decode("utf-8", "surrogateescape"):
        return told.encode("utf-8", "surrogateescape")
    return json.dumps(told, separators=(",", ":")).encode() + line[len(line.rstrip(b"\r\n")) :]
