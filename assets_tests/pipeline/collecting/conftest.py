"""A scripted model, batches run against it, and a place where real agents work."""

import fcntl
import os
import re
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from assets_tests.recording.agents import CLAUDE_CODE, Codex, Pi, install
from assets_tests.recording.model import Reply, ScriptedModel
from pipeline.collecting.agent import World
from pipeline.collecting.collect import Finished, collect, silent
from pipeline.converting import FORMATS
from pipeline.records import Prompt, Reject, Trace
from pipeline.resources.boxes import ownerless
from pipeline.resources.containers import LABEL
from pipeline.resources.journal import Journal
from pipeline.resources.sites import Sites
from pipeline.settings import Collection

HERE = Path(__file__).parent
BASE_IMAGE = HERE / "base_image.sh"
DEPLOY = HERE.parents[2] / "deploy"
CACHE = Path.home() / ".cache/tracemill-tests"
"""What takes long to make stays here, and in the Docker engine."""


class Bench:
    """Runs prompts against a scripted model; the journal goes on from run to run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.journal = Journal(folder / "journal")

    @contextmanager
    def model(self, *replies: dict[str, Any] | Callable[[dict[str, Any]], Any]) -> Iterator[Any]:
        """A server that says these replies in a row, or what a function chooses."""
        chosen = replies[0] if callable(replies[0]) else tuple(Reply(**one) for one in replies)
        with ScriptedModel(chosen) as served:
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
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("TEST_KEY", "sk-secret")
    return Bench(tmp_path)


@pytest.fixture
def task() -> Callable[..., Prompt]:
    """A prompt of this text."""

    def made(prompt: str = "Say hi.", **fields: Any) -> Prompt:
        told = {"id": f"p-{prompt.replace(' ', '_')}", "agent": "chat", "model": "gpt-5", "prompt": prompt, **fields}
        return Prompt(**told)

    return made


@dataclass(frozen=True)
class Place:
    """Where agents run in these tests."""

    kind: str
    image: str = ""

    @property
    def sandbox(self) -> dict[str, str]:
        return {"kind": self.kind, **({"image": self.image} if self.image else {})}

    def leftovers(self) -> int:
        """Containers that nobody owns, running or not; those of other workers have their owners."""
        return sum(ownerless(Path(one.labels[LABEL])) for one in self.containers())

    def containers(self) -> list[Any]:
        if self.kind != "docker":
            return []
        return docker.from_env().containers.list(
            all=True, filters={"label": LABEL, "ancestor": self.image}, ignore_removed=True
        )


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Containers of the image that deploy/sandbox.Dockerfile makes; without an engine, this machine, said loudly."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "agents.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if request.config.getoption("--host"):
                raise OSError("--host is asked for")
            found = Place("docker", built_image())
        except (docker.errors.DockerException, subprocess.SubprocessError, OSError) as error:
            warnings.warn(f"no container can be had ({error}): the agents run on this machine itself", stacklevel=1)
            found = Place("host")
            with_programs()
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{CACHE / 'programs'}:{path}"
    yield found
    os.environ["PATH"] = path


def built_image() -> str:
    """The image, from the cache of the engine or built. Raises DockerException, CalledProcessError, OSError."""
    engine = docker.from_env()
    made = [DEPLOY / "sandbox.Dockerfile", *sorted((DEPLOY / "sandbox").iterdir())]
    told = blake2b(b"".join(file.read_bytes() for file in made) + CLAUDE_CODE.encode(), digest_size=6)
    name = f"tracemill-sandbox:{told.hexdigest()}"
    try:
        engine.images.get(name)
    except docker.errors.ImageNotFound:
        base = re.search(r"ARG BASE=(\S+)", made[0].read_text(encoding="utf-8"))
        assert base is not None
        subprocess.run([str(BASE_IMAGE), base[1]], check=True, timeout=600)
        build = ["docker", "build", "--quiet", "--network", "host", "--build-arg", f"CLAUDE_CODE={CLAUDE_CODE}"]
        build += ["-t", name, "-f", str(made[0]), str(DEPLOY)]
        subprocess.run(build, check=True, timeout=600, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    return name


def with_programs() -> None:
    """The agents of npm in a folder of programs; skips where npm has them not."""
    try:
        codex, pi = (agent.installed(CACHE / "agents", CACHE) for agent in (Codex, Pi))
        claude = install(CACHE / "agents", f"@anthropic-ai/claude-code@{CLAUDE_CODE}") / ".bin/claude"
    except (subprocess.SubprocessError, OSError, StopIteration) as error:
        pytest.skip(f"no container, and npm does not install the agents: {error}")
    (CACHE / "programs").mkdir(exist_ok=True)
    for name, command in (("codex", codex.binary), ("pi", f"{pi.node} {pi.bundle}"), ("claude", claude)):
        (CACHE / "programs" / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        (CACHE / "programs" / name).chmod(0o755)
