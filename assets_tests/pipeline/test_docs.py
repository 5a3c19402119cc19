"""What README and docs show is run: Python as it stands, commands against the command line's own help."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from pipeline.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> Iterator[str]:
    return (body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, made_once: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "demo").symlink_to(made_once)
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    monkeypatch.chdir(tmp_path)
    told: dict[str, object] = {}
    for number, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{page.name}, block {number}", "exec"), told)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page: Path):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    shown = "\n".join(blocks(page, "console")) + "\n".join(re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")))
    for tool, name in re.findall(r"\b(make|tracemill) ([a-z]+)\b", shown):
        assert name in (targets if tool == "make" else commands), f"{tool} {name}"


def test_every_link_leads_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
