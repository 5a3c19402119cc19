"""Renderers and audits share no code and agree: what is rendered and masked honestly has no errors."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipeline.auditing import Summary, audit
from pipeline.masking import mask
from pipeline.records import Conversation, MaskedRow, RenderedRow, Scrub
from pipeline.rendering import render
from pipeline.targets import Target
from renderers.hub import from_hub
from renderers.registry import create_renderer
from renderers.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def goldens(shared: Path) -> list[Conversation]:
    """Forty-nine conversations, each hard in its own way."""
    told = json.loads((shared / "goldens/conversations.json").read_text("utf-8"))
    return [
        Conversation(
            id=name,
            trace_id=name,
            prompt_id=name,
            window=0,
            messages=from_hub(one["messages"]),
            tools=tuple(one["tools"] or ()),
            tools_recorded=True,
            format="golden",
            scrub=Scrub(done="replaced"),
        )
        for name, one in told.items()
    ]


@pytest.mark.parametrize(
    ("family", "renderer"),
    [
        ("qwen3", "qwen3"),
        *((name, "traced") for name in ("qwen3", "gpt-oss", "llama-3.1", "gemma-4", "kimi-k2", "qwen3.8")),
    ],
)
def test_golden_conversations_pass_every_audit(
    goldens: list[Conversation], official: Callable[[str], Path], family: str, renderer: str
):
    place = official(family)
    files = {name: (place / name).read_text("utf-8") for name in ("tokenizer.json", "tokenizer_config.json")}
    tokenizer = Tokenizer.from_json(
        files["tokenizer.json"],
        config=json.loads(files["tokenizer_config.json"]),
        chat_template=(place / "chat_template.jinja").read_text("utf-8"),
        name=family,
    )
    target, summary = Target(model=family), Summary()
    rows = [
        row
        for row in render(goldens, create_renderer(tokenizer, renderer, today=date(2025, 7, 1)))
        if isinstance(row, RenderedRow)
    ]
    masked = [row for row in mask(rows, target) if isinstance(row, MaskedRow)]
    findings = list(audit(goldens, rows, masked, tokenizer=tokenizer, target=target, summary=summary))
    assert [finding for finding in findings if finding.severity == "error"] == []
    assert summary.rows > 30
    assert summary.proved_turns == summary.trained_turns > 20
