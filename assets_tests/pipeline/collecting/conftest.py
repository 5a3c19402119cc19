"""A scripted model, and batches run against it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.collecting.agent import World
from pipeline.collecting.collect import Finished, collect, silent
from pipeline.converting import FORMATS
from pipeline.records import Prompt, Reject, Trace
from pipeline.resources.journal import Journal
from pipeline.resources.sites import Sites
from pipeline.settings import Collection


class Bench:
    """Runs prompts against a scripted model; the journal goes on from run to run."""

    def __init__(self, module: ModuleType, folder: Path):
        self.module, self.folder = module, folder
        self.journal = Journal(folder / "journal")

    @contextmanager
    def model(self, *replies: dict[str, Any] | Callable[[dict[str, Any]], Any]) -> Iterator[Any]:
        """A server that says these replies in a row, or what a function chooses."""
        chosen = replies[0] if callable(replies[0]) else tuple(self.module.Reply(**one) for one in replies)
        with self.module.ScriptedModel(chosen) as served:
            yield served

    def settings(self, url: str, **told: Any) -> Collection:
        endpoint = {"base_url": url, "api": told.pop("api", "responses"), "provider": "openai", "key": "TEST_KEY"}
        sandbox = {"kind": "host", **told.pop("sandbox", {})}
        asked = {"agent": "chat", "model": "gpt-5", "endpoint": {**endpoint, **told.pop("endpoint", {})}, **told}
        return Collection.model_validate({**asked, "sandbox": sandbox})

    def run(
        self, prompts: list[Prompt], url: str, *, generation: int | None = None, tell=silent, held=(), **told: Any
    ) -> list[Trace | Reject]:
        settings = self.settings(url, **told)
        finished = Finished.of(self.journal, held, generation)
        return list(collect(prompts, World(self.folder, FORMATS, settings), finished, Sites(settings).open, tell=tell))


@pytest.fixture
def bench(model: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("TEST_KEY", "sk-secret")
    return Bench(model, tmp_path)


@pytest.fixture
def task() -> Callable[..., Prompt]:
    """A prompt of this text."""

    def made(prompt: str = "Say hi.", **fields: Any) -> Prompt:
        told = {"id": f"p-{prompt.replace(' ', '_')}", "agent": "chat", "model": "gpt-5", "prompt": prompt, **fields}
        return Prompt(**told)

    return made
