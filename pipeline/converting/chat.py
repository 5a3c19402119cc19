"""Rows of a chat provider, as teich writes them.

Either `messages`, or `prompt` with `response` (and `thinking`); with follow-ups, `follow_up_prompts` and `responses`.
"""

from collections.abc import Iterator
from typing import Any

from pipeline.converting import messages
from pipeline.converting.rows import Fields, Told, listed, plain


def recognises(row: Fields) -> bool:
    told = "response" in row or "responses" in row
    return isinstance(row.get("prompt"), str) and (told or plain(row.get("metadata")).get("trace_type") == "chat")


def tell(row: Fields) -> Iterator[Told]:
    """The row as one conversation."""
    yield from messages.tell(row if row.get("messages") else {**row, "messages": _turns(row)})


def _turns(row: Fields) -> list[dict[str, Any]]:
    asked = [row["prompt"], *listed(row.get("follow_up_prompts") or [], "follow_up_prompts")]
    answers = listed(row.get("responses") or [row.get("response")], "responses")
    told: list[dict[str, Any]] = []
    for number, (prompt, answer) in enumerate(zip(asked, answers, strict=False)):
        thought = row.get("thinking") if number + 1 == len(answers) else None
        said = dict(answer) if isinstance(answer, dict) else {"content": answer}
        told += {"role": "user", "content": prompt}, {"thinking": thought, **said, "role": "assistant"}
    return told
