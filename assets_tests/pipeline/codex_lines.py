"""Lines of Codex rollouts, made by hand, and their conversion."""

import json
from collections.abc import Callable
from typing import Any

from pipeline.converting import convert
from pipeline.records import Conversation, Reject, Trace, TraceFile

Line = dict[str, Any]
Convert = Callable[..., list[Conversation | Reject]]


def meta(thread: str = "t1", **fields: Any) -> Line:
    return {"type": "session_meta", "payload": {"id": thread, "cli_version": "0.169.0", **fields}}


def item(kind: str, *, ordinal: int | None = None, metadata: dict | None = None, **fields: Any) -> Line:
    return {"type": "response_item", "ordinal": ordinal, "payload": {"type": kind, **fields}, "metadata": metadata}


def said(role: str, *texts: str, **fields: Any) -> Line:
    kind = "output_text" if role == "assistant" else "input_text"
    return item("message", role=role, content=[{"type": kind, "text": text} for text in texts], **fields)


def called(call: str, name: str = "shell", **fields: Any) -> Line:
    return item("function_call", name=name, call_id=call, **{"arguments": '{"cmd": "ls"}', **fields})


def output(call: str, text: Any = "ok") -> Line:
    return item("function_call_output", call_id=call, output=text)


def event(kind: str, **fields: Any) -> Line:
    return {"type": "event_msg", "payload": {"type": kind, **fields}}


USAGE: Line = {"type": "token_usage_record", "payload": {}}
ASKED = said("user", "Fix it.")


def read(*lines: Line, beside: tuple[tuple[Line, ...], ...] = ()) -> list[Conversation | Reject]:
    """Converts a rollout of these lines; `beside` are the rollouts of other threads."""
    files = [TraceFile(f"{at}.jsonl", b"".join(map(dumped, rows))) for at, rows in enumerate([lines, *beside])]
    trace = Trace(id="t-1", prompt_id="p-1", prompt="", agent="replay", format="codex", files=tuple(files))
    return list(convert([trace]))


def dumped(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
