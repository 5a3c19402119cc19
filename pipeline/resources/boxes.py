"""Where agents work: a scratch folder for all runs of a process, a box for each, and what becomes of leftovers.

The scratch folder is locked as long as its process lives. What a killed process has left is known by that: a folder
whose lock can be had belongs to nobody, nor do the containers and processes that name it.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pipeline.collecting.agent import Ended
from pipeline.errors import TraceError

PREFIX = "tracemill-"
MARK = "TRACEMILL_SCRATCH"
"""In the environment of every process that an agent starts on this machine, and the label of every container."""
GRACE = 20.0
"""Seconds from the signal that asks an agent to end to the one that does not ask."""
TAIL = 2000
"""Characters of what a command printed that are kept."""
CLONING = 300.0
OPEN = "agents run on this machine itself and can do what you can: collect.sandbox.kind: host shuts nothing in"
QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}


@contextmanager
def scratch() -> Iterator[Path]:
    """A locked folder that nobody else can look into; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with lock(folder) as held:
        assert held is not None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lock(folder: Path) -> Iterator[TextIO | None]:
    """Hold a scratch folder; None if somebody does."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def ownerless(folder: Path) -> bool:
    """Whether the process of a scratch folder is gone."""
    if not folder.is_dir():
        return True
    with lock(folder) as held:
        return held is not None


def sweep() -> None:
    """End what killed processes have left running on this machine, and remove their folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if (folder / ".lock").is_file() and ownerless(folder):
                end_processes(folder)
                shutil.rmtree(folder, ignore_errors=True)


def end_processes(place: Path) -> None:
    """Kill all whose environment names this folder, or one below it: agents give commands sessions of their own."""
    name = f"{MARK}={place}".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            told = environment.read_bytes().split(b"\0")
            if any(one == name or one.startswith(name + b"/") for one in told):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def check_out(repo: str, ref: str | None, work: Path, *, host: str) -> str:
    """Put a repository into an empty folder, outside of any sandbox; return the commit. Raises TraceError."""
    steps = (
        ["init", "--quiet"],
        ["remote", "add", "origin", f"{host}/{repo}"],
        ["fetch", "--quiet", "--depth", "1", "--no-tags", "origin", ref or "HEAD"],
        ["checkout", "--quiet", "-B", "main", "FETCH_HEAD"],
        ["rev-parse", "HEAD"],
    )
    git = ["git", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", "-c", "protocol.ext.allow=never"]
    told = ""
    for step in steps:
        try:
            told = subprocess.run(
                [*git, *step],
                cwd=work,
                env={**os.environ, **QUIET},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=CLONING,
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            why = str(getattr(error, "stderr", None) or error).strip()[-TAIL:]
            raise TraceError("no_repository", f"github_repo: {repo}@{ref or 'HEAD'}: {why}; correct it") from error
    return told.strip()


@dataclass
class Folders:
    """What every `collecting.agent.Box` has."""

    place: Path
    url: str
    commit: str | None = None

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def work(self) -> Path:
        return self.place / "work"


class HostBox(Folders):
    """A `collecting.agent.Box` that shuts nothing in: a process with a home of its own."""

    def inside(self, path: Path) -> str:
        return str(path)

    def run(self, command: list[str], *, env: Mapping[str, str], stop: signal.Signals, seconds: float) -> Ended:
        log, late = self.place / "log", False
        with log.open("wb") as out, self._started(command, env, out) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                late = True
                process.send_signal(stop)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            finally:
                end_processes(self.place)
                process.kill()
        return Ended(process.returncode, log.read_text(encoding="utf-8", errors="replace")[-TAIL:], timed_out=late)

    def _started(self, command: list[str], env: Mapping[str, str], out) -> "subprocess.Popen[bytes]":
        """Nothing of this process's environment but the way to programs: keys stay here."""
        own = {"HOME": str(self.home), "TMPDIR": str(self.place / "tmp"), MARK: str(self.place), **env}
        around = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "USER": "agent", **own}
        try:
            return subprocess.Popen(
                command,
                cwd=self.work,
                env=around,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        except OSError as error:
            why = f"agent: {command[0]} cannot be started on this machine: {error.strerror}; install it"
            raise TraceError("no_agent", why) from error


class Host:
    """Boxes on this machine itself."""

    name = "host"

    @contextmanager
    def box(self, place: Path, line: str) -> Iterator[HostBox]:
        warnings.warn(OPEN, stacklevel=3)  # once a process, unless somebody filters otherwise
        try:
            yield HostBox(place, line)
        finally:
            end_processes(place)
