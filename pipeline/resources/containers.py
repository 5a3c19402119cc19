"""`docker`: a container a prompt, shut but for the recorder.

It has no network at all. The recorder's Unix socket is mounted, and what keeps the container alive hands on to it what
comes to a port of the container's own loopback. Turns of a session are commands in the same container.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from signal import Signals
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound, NotFound
from docker.types import Mount

from pipeline.collecting.agent import Ended
from pipeline.errors import SettingsError, TraceError
from pipeline.resources.boxes import GRACE, TAIL, Folders, ownerless
from pipeline.settings import Sandbox

LABEL = "tracemill.scratch"
PORT = 8080
HOME, WORK, SOCKETS = "/home/agent", "/work", "/run/tracemill"
USER = 1000
"""Of the agent, where we are root ourselves: it never is."""
GONE = (DockerException, OSError)
"""What the engine's client raises, its lost connections included."""
TURN = 'echo $$ > /tmp/.turn; exec "$@"'
STOP = 'kill -s "$0" "$(cat /tmp/.turn)"'


@dataclass(kw_only=True)
class ContainerBox(Folders):
    """A `collecting.agent.Box`."""

    container: Any

    def inside(self, path: Path) -> str:
        told = path.relative_to(self.home)
        return f"{HOME}/{told}" if told.parts else HOME

    def run(self, command: list[str], *, env: Mapping[str, str], stop: Signals, seconds: float) -> Ended:
        """Raises TraceError where the container is gone: what runs in it may end it, and so may the engine."""
        _own(self.place)
        engine, tail = self.container.client.api, b""
        watch = Watch(self.container, stop, seconds)
        try:
            turn = engine.exec_create(
                self.container.id, ["sh", "-c", TURN, "sh", *command], environment=dict(env), workdir=WORK
            )["Id"]
            with watch:
                for piece in engine.exec_start(turn, stream=True):
                    tail = (tail + piece)[-4 * TAIL :]
            code = engine.exec_inspect(turn)["ExitCode"]
        except GONE as error:
            raise TraceError(
                "no_container", f"agent: its container ended before it did: {error}; run it again"
            ) from error
        return Ended(-1 if code is None else code, tail.decode(errors="replace")[-TAIL:], timed_out=watch.late)


class Watch:
    """Ends a turn that takes too long: asks it first, and kills the container if it does not listen."""

    def __init__(self, container: Any, stop: Signals, seconds: float):
        self.container, self.stop, self.late = container, stop, False
        self.timers = [threading.Timer(seconds, self._ask), threading.Timer(seconds + GRACE, self._kill)]

    def __enter__(self) -> None:
        for timer in self.timers:
            timer.daemon = True
            timer.start()

    def __exit__(self, *_: object) -> None:
        for timer in self.timers:
            timer.cancel()

    def _ask(self) -> None:
        self.late = True
        with suppress(DockerException):
            self.container.exec_run(["sh", "-c", STOP, self.stop.name.removeprefix("SIG")])

    def _kill(self) -> None:
        with suppress(DockerException):
            self.container.kill()


class Containers:
    """Boxes that are containers of one image."""

    def __init__(self, settings: Sandbox, scratch: Path, sockets: Path):
        self.settings, self.scratch, self.sockets = settings, scratch, sockets

    @cached_property
    def client(self) -> docker.DockerClient:
        """Raises SettingsError where no engine answers."""
        try:
            client = docker.from_env(timeout=120)
            client.ping()
        except DockerException as error:
            cure = "start one, or set collect.sandbox.kind: host, which shuts nothing in"
            raise SettingsError(f"collect.sandbox: no Docker engine answers ({error}); {cure}") from error
        remove_leftovers(client)
        return client

    @cached_property
    def image(self) -> str:
        """The image's id. Raises SettingsError where there is none."""
        name = self.settings.image
        try:
            return self.client.images.get(name).id or name
        except ImageNotFound as error:
            cure = f"docker build -t {name} -f deploy/sandbox.Dockerfile deploy"
            raise SettingsError(f"collect.sandbox.image: there is no image {name!r} here; {cure}") from error

    @property
    def name(self) -> str:
        return f"docker {self.image}"

    @contextmanager
    def box(self, place: Path, line: str) -> Iterator[ContainerBox]:
        _own(place)
        try:
            container = self.client.containers.run(**self._wanted(place))
        except GONE as error:
            raise TraceError("no_container", f"agent: {error}; mend the engine, then run it again") from error
        try:
            yield ContainerBox(place, f"http://127.0.0.1:{PORT}{line}", container=container)
        finally:
            with suppress(*GONE):
                container.remove(force=True)

    def _wanted(self, place: Path) -> dict[str, Any]:
        bound = {HOME: place / "home", WORK: place / "work"}
        user = os.getuid() or USER
        return {
            "image": self.image,
            "command": ["node", "/opt/tracemill/forward.js", str(PORT), f"{SOCKETS}/recorder.sock"],
            "name": f"tracemill-{place.name}",
            "labels": {LABEL: str(self.scratch)},
            "detach": True,
            "init": True,
            "user": f"{user}:{user}",
            "working_dir": WORK,
            "environment": {"HOME": HOME, "USER": "agent", "LANG": "C.UTF-8", "TZ": "UTC"},
            "network_mode": "none",
            "read_only": True,
            "tmpfs": {"/tmp": "exec,mode=1777"},
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": self.settings.memory,
            "memswap_limit": self.settings.memory,
            "nano_cpus": int(self.settings.cpus * 1e9),
            "pids_limit": self.settings.pids,
            "mounts": [
                *(Mount(inside, str(path), type="bind") for inside, path in bound.items()),
                Mount(SOCKETS, str(self.sockets), type="bind", read_only=True),
            ],
        }


def remove_leftovers(client: docker.DockerClient) -> int:
    """Remove the containers of killed processes; how many there were."""
    found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    left = [one for one in found if ownerless(Path(one.labels[LABEL]))]
    for container in left:
        with suppress(NotFound):
            container.remove(force=True)
    return len(left)


def _own(place: Path) -> None:
    """Give what is in a box to its agent, where we are root and it must not be."""
    if os.getuid() == 0:
        for folder in (place / "home", place / "work"):
            for path in (folder, *folder.rglob("*")):
                with suppress(FileNotFoundError):  # what an earlier turn left running may tidy up
                    os.chown(path, USER, USER, follow_symlinks=False)
