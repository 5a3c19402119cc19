"""What a deployment needs of the machine: an engine, the two base images, and the image of the project.

Base images have the names that Dockerfile and compose.yaml use. Root makes them of Debian's packages, others pull them.
"""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

import pytest
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError, ReloadRepositoryLocationStatus

from pipeline.projects import create_demo
from pipeline.targets import Project

ROOT = Path(__file__).parents[2]
CACHE = Path.home() / ".cache" / "tracemill-tests"
DEPLOY = ROOT / "deploy"
SOCKET = Path("/var/run/docker.sock")
MINUTES = 60
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SERVE = """#!/bin/sh -e
# As the entry point of the image whose name this one has: a database on first start.
data=/var/lib/postgresql/data
mkdir -p $data && chown postgres: $data /var/run/postgresql && chmod 700 $data
run() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -s $data/PG_VERSION ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password && chown postgres: /tmp/password
  run initdb -D $data -U "$POSTGRES_USER" --pwfile=/tmp/password -A scram-sha-256 >/dev/null
  echo "host all all all scram-sha-256" >> $data/pg_hba.conf
  run postgres --single -D $data postgres >/dev/null <<END
CREATE DATABASE $POSTGRES_DB
END
fi
run postgres -D $data -c listen_addresses='*' &
trap "kill -INT $!" TERM  # do not wait for who is connected
wait $! || wait $!
"""
BASES = {
    "python:3.11-slim-bookworm": ("python3,python3-venv", f"ENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}"),
    "postgres:15-bookworm": (
        "postgresql-15",
        'ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin\nENTRYPOINT ["/serve"]',
    ),
}
"""Image -> Debian's packages, and what `docker import` is told of it."""
NEVER_RUN = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
"""Of PostgreSQL."""


def works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def alone(name: str) -> Iterator[None]:
    """One process of this machine at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def engine() -> Iterator[list[str]]:
    """How Compose is called, on an engine that answers; one test process at a time has it."""
    if not works("docker", "info"):
        pytest.skip("no Docker engine answers: `.ci/run` installs and starts one")
    compose = next(([*c] for c in (("docker", "compose"), ("docker-compose",)) if works(*c, "version")), None)
    if compose is None:
        pytest.skip("no Docker Compose")
    with alone("docker"):
        yield compose


@pytest.fixture(scope="session")
def image(engine: list[str]) -> str:
    """The name of the project's image, built from the files as they are now."""
    for name in BASES:
        if not works("docker", "image", "inspect", name):
            (bootstrap if os.getuid() == 0 and shutil.which("debootstrap") else pull)(name)
    owner = str(os.getuid() or 1000)
    env = {**os.environ, "TRACEMILL_UID": owner, "TRACEMILL_FOLDER": "/", "DOCKER_GID": "0", "DAGSTER_PG_PASSWORD": "-"}
    subprocess.run(
        [*engine, "-f", str(DEPLOY / "compose.yaml"), "build", "-q"], env=env, check=True, timeout=10 * MINUTES
    )
    return "tracemill"


def pull(name: str) -> None:
    try:
        subprocess.run(["docker", "pull", "-q", name], check=True, timeout=5 * MINUTES, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"no image {name}: root makes it with debootstrap, anybody else pulls it")


def bootstrap(name: str) -> None:
    """An image of Debian's packages, as small as its namesake; kept as an archive."""
    packages, told = BASES[name]
    key = blake2b(f"{packages}{told}{SERVE}{NEVER_RUN}".encode(), digest_size=6).hexdigest()
    archive = CACHE / f"{name.replace(':', '-')}-{key}.tar"
    if not archive.exists():
        root = archive.with_suffix(".root")
        debootstrap(packages, root)
        for folder in NEVER_RUN:
            shutil.rmtree(root / folder, ignore_errors=True)
        for jit in [*root.glob("usr/lib/*/libLLVM*"), *root.glob("usr/lib/postgresql/*/lib/llvmjit*")]:
            shutil.rmtree(jit) if jit.is_dir() else jit.unlink()
        shutil.copyfile(CERTIFICATES, root / CERTIFICATES[1:])  # what this machine trusts
        (root / "serve").write_text(SERVE)
        (root / "serve").chmod(0o755)
        subprocess.run(["tar", "-C", str(root), "-cf", f"{archive}.new", "."], check=True, timeout=5 * MINUTES)
        os.replace(f"{archive}.new", archive)
        shutil.rmtree(root)
    changes = [word for line in told.splitlines() for word in ("-c", line)]
    subprocess.run(["docker", "import", *changes, str(archive), name], check=True, capture_output=True)


def debootstrap(packages: str, root: Path) -> None:
    """A Debian of few packages. Mirrors fail at times: what was fetched is kept, and asked for again."""
    debs = CACHE / "debs"
    debs.mkdir(exist_ok=True)
    include = f"--include=ca-certificates,{packages}"
    command = ["debootstrap", "--variant=minbase", f"--cache-dir={debs}", include, "bookworm", str(root)]
    for again in (True, True, False):
        shutil.rmtree(root, ignore_errors=True)
        done = subprocess.run(command, capture_output=True, text=True, timeout=10 * MINUTES)
        if done.returncode == 0:
            return
        assert again, done.stdout[-2000:] + done.stderr[-2000:]


def call(*words: str, told: str = "") -> str:
    done = subprocess.run(["docker", *words], input=told, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def docker(engine: list[str]) -> Callable[..., str]:
    """What a `docker` command prints."""
    return call


class Stack:
    """A project and the Dagster that serves it from containers."""

    ENDS = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
    patience = 120
    """Seconds: a loaded machine is slow, not broken."""

    def __init__(self, project: Project, engine: list[str]):
        self.project, self.engine = project, engine
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.env = {
            **os.environ,
            "TRACEMILL_FOLDER": str(project.folder),
            "TRACEMILL_PORT": str(self.port),
            "DOCKER_GID": str(SOCKET.stat().st_gid),
            "DAGSTER_PG_PASSWORD": "trial",
        }

    @property
    def dagster(self) -> DagsterGraphQLClient:
        return DagsterGraphQLClient("127.0.0.1", port_number=self.port)

    def compose(self, *words: str, files: Sequence[str] = ("compose.yaml",)) -> str:
        named = [word for file in files for word in ("-f", str(DEPLOY / file))]
        command = [*self.engine, "-p", "tracemill-test", *named, *words]
        return subprocess.run(
            command, env=self.env, check=True, timeout=240, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def until(self, true: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + self.patience
        while not true():
            assert time.monotonic() < deadline, f"not within {self.patience} seconds: {what}"
            time.sleep(0.1)

    def reload(self) -> None:
        """Have the webserver ask the code server again, until it answers."""

        def reloaded() -> bool:
            with suppress(DagsterGraphQLClientError):
                answer = self.dagster.reload_repository_location("tracemill")
                return answer.status is ReloadRepositoryLocationStatus.SUCCESS
            return False

        self.until(reloaded, "the code location is loaded again")

    def knows(self, batch: str) -> None:
        """Wait until the sensor has seen a batch's file."""
        query = '{ assetNodeOrError(assetKey: {path: ["prompts"]}) { ... on AssetNode { partitionKeys } } }'

        def known() -> bool:
            with suppress(DagsterGraphQLClientError):
                return batch in self.dagster._execute(query)["assetNodeOrError"].get("partitionKeys", ())
            return False

        self.until(known, f"{batch} is a partition")

    def launched(self, job: str, batch: str, *, assets: Sequence[str] | None = None) -> str:
        """A run of a batch, as soon as the sensor has seen the batch's file."""
        runs: list[str] = []
        selected = [asset.split("/") for asset in assets] if assets else None

        def accepted() -> bool:
            with suppress(DagsterGraphQLClientError):
                tags = {"dagster/partition": batch}
                runs.append(self.dagster.submit_job_execution(job, tags=tags, asset_selection=selected))
            return bool(runs)

        self.knows(batch)
        self.until(accepted, f"a run of {job} is accepted")
        return runs[0]

    def status(self, run: str) -> DagsterRunStatus | None:
        with suppress(DagsterGraphQLClientError):  # while the database starts again
            return self.dagster.get_run_status(run)
        return None

    def ended(self, run: str) -> DagsterRunStatus | None:
        """How a run came out."""
        self.until(lambda: self.status(run) in self.ENDS, "the run ends")
        return self.status(run)

    def containers(self, run: str | None = None) -> list[str]:
        """What runs of a run, or of all."""
        return call("ps", "--quiet", "--filter", f"label=dagster/run_id{'=' + run if run else ''}").split()

    def container(self, run: str) -> str:
        """The container of a run, as soon as there is one."""
        self.until(lambda: self.containers(run), "the run has a container")
        return self.containers(run)[0]

    def process(self, service: str) -> int:
        """The first process of a service, as the machine numbers it; 0 while there is none."""
        return int(call("inspect", "--format", "{{.State.Pid}}", self.compose("ps", "-q", service)))

    def slots(self) -> int:
        """How many slots of the pool are taken."""
        query = '{ instance { concurrencyLimit(concurrencyKey: "agents") { activeSlotCount } } }'
        return self.dagster._execute(query)["instance"]["concurrencyLimit"]["activeSlotCount"]


@pytest.fixture(scope="session")
def stack(engine: list[str], image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The deployment as `up` starts it, for the example and some batches of many prompts."""
    if works("docker", "volume", "inspect", "tracemill_project") or works("docker", "network", "inspect", "tracemill"):
        pytest.skip("a deployment is on this machine already")
    project = create_demo(tmp_path_factory.mktemp("deployed") / "project")
    write_many_prompts(project, "many")
    if os.getuid() == 0:
        owner = call("run", "--rm", image, "id", "-u")
        subprocess.run(["chown", "-R", owner, str(project.folder)], check=True)
    stack = Stack(project, engine)
    try:
        stack.compose("up", "-d", "--no-build")
        yield stack
    finally:
        print(stack.compose("logs", "--no-color", "--tail", "40"))
        for container in stack.containers():  # of a test that failed
            with suppress(subprocess.CalledProcessError):  # it ends by itself just now
                call("rm", "--force", container)
        stack.compose("down", "--volumes")
        for label in ("network", "volume"):
            assert not call(label, "ls", "--quiet", "--filter", "name=tracemill"), f"a {label} is left over"


def write_many_prompts(project: Project, batch: str) -> None:
    """A batch that takes long enough for something to die on the way."""
    told = [json.loads(line) for file in project.batch_files().values() for line in file.open(encoding="utf-8")]
    many = [{**line, "prompt": f"{line['prompt']} ({batch} {again})"} for again in range(80) for line in told]
    lines = "".join(json.dumps(line) + "\n" for line in many)
    (project.prompts / f"{batch}.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[dict[str, object]]:
    """A server of its own on a free port of this machine: what Dagster is told of it."""
    if PROGRAMS is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    data, user = Path("/tmp") / f"tracemill-postgres-{os.getpid()}", {}
    data.mkdir(mode=0o700)
    if os.getuid() == 0:  # PostgreSQL refuses root
        shutil.chown(data, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": ()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = [PROGRAMS / "initdb", "-D", data, "-U", "dagster", "-A", "trust", "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, cwd="/", **user)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    control = [PROGRAMS / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options]
    subprocess.run([*control, "start"], check=True, capture_output=True, cwd="/", **user)
    try:
        yield {"hostname": "127.0.0.1", "port": port, "username": "dagster", "password": "", "db_name": "postgres"}
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/", **user)
        shutil.rmtree(data)
