"""Hashes that a published row carries, so that others can see what it was made of. All are sha256, in hexadecimal.

Each is of bytes that anybody can write down again: no hash depends on who made the file, or with which version.
"""

from hashlib import sha256

import msgspec
import numpy as np

from pipeline.records import Conversation, Trace
from renderers.masking import IGNORED
from renderers.messages import tojson


def sha(data: bytes) -> str:
    return sha256(data).hexdigest()


def raw_sha(trace: Trace) -> str:
    """Of the session file as the agent wrote it; of several files, of their hashes, one a line."""
    each = [sha(file.data) for file in trace.files]
    return each[0] if len(each) == 1 else sha("\n".join(each).encode())


def conversation_sha(conversation: Conversation) -> str:
    """Of all that a renderer is told: a line each of messages, tools, the date, and messages that are not trained."""
    lines = (
        msgspec.json.encode(conversation.messages),
        tojson(conversation.tools).encode("utf-8", "surrogatepass"),
        msgspec.json.encode(conversation.date),
        msgspec.json.encode(conversation.flaws),
    )
    return sha(b"\n".join(lines))


def ids_sha(ids: np.ndarray) -> str:
    """Of the ids, four bytes each, the lowest first."""
    return sha(ids.astype("<i4", copy=False).tobytes())


def mask_sha(labels: np.ndarray) -> str:
    """Of one byte a token: 1 where it is learned."""
    return sha((labels != IGNORED).astype(np.uint8).tobytes())


def root(lines: dict[str, str]) -> str:
    """One hash of several, by name."""
    return sha("".join(f"{name} {value}\n" for name, value in sorted(lines.items())).encode())
