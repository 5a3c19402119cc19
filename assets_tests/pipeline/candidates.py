"""Rows that may be mixed, with their conversations, and a mixture of them."""

import numpy as np

from pipeline.mixing.mix import Candidate
from pipeline.mixtures import Mixture
from pipeline.records import Conversation, MaskedRow
from renderers.hub import from_hub


def said(name: str, *messages: dict | str, **fields) -> Conversation:
    """A conversation; of texts, users and assistants by turns."""
    roles = ("user", "assistant")
    told = [{"role": roles[n % 2], "content": m} if isinstance(m, str) else m for n, m in enumerate(messages)]
    base = {"trace_id": "", "prompt_id": "", "window": 0, "format": "messages"}
    return Conversation(**{**base, **fields}, id=name, messages=from_hub(told))


def candidate(source: str, name: str, tokens: int = 10, **fields) -> Candidate:
    ids = np.arange(tokens, dtype=np.int32)
    labels = np.where(ids > tokens // 2, ids, -100).astype(np.int32)
    row = MaskedRow(
        id=name,
        conversation_id=name,
        input_ids=ids,
        labels=labels,
        attention_mask=np.ones(tokens, np.int8),
        trained={"answer": int((labels >= 0).sum())},
    )
    return Candidate(source, row, said(name, f"task {name}", f"answer {name}", **fields))


def mixture(sources: dict[str, dict], **settings) -> Mixture:
    asked = {name: {"batches": "*", **one} for name, one in sources.items()}
    return Mixture.model_validate({"target": "t", "sources": asked, "curate": {"duplicates": "keep"}, **settings})
