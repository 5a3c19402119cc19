"""The deployment's files agree with each other and with the project; no Docker is needed for that."""

import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_docker import DockerRunLauncher

from pipeline.sensors import MOST_PARTITIONS, PRODUCE_NEW, WEBHOOK

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE_TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
INSTANCE: dict[str, Any] = yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))
RUNS: dict[str, Any] = INSTANCE["run_launcher"]["config"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
EXAMPLE = (DEPLOY / ".env.example").read_text(encoding="utf-8")
STEPS: dict[str, Any] = yaml.safe_load((DEPLOY / "steps.yaml").read_text(encoding="utf-8"))
KUBERNETES: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text(encoding="utf-8"))
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in SERVICES.items() if name != "postgres"}
SOCKET = "/var/run/docker.sock:/var/run/docker.sock"
VARIABLES = dict(re.findall(r"\$\{(\w+)(:[?-])", COMPOSE_TEXT))
"""What compose.yaml takes from outside, and how it says so: `:?` must be set, `:-` has a default."""


def test_dagster_reads_the_instance_and_makes_its_launcher(monkeypatch: pytest.MonkeyPatch):
    for name in RUNS["env_vars"]:
        monkeypatch.setenv(name, "set")
    launcher = InstanceRef.from_dir(str(DEPLOY)).run_launcher
    assert isinstance(launcher, DockerRunLauncher)
    assert launcher.networks == [RUNS["network"]]


def test_all_services_but_the_database_are_one_image_and_so_are_the_runs():
    images = {service["image"] for service in OURS.values()}
    assert images == {SERVICES["code"]["environment"]["DAGSTER_CURRENT_IMAGE"]}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["code"]
    assert "image" not in RUNS


def test_runs_mount_what_the_services_mount_where_the_image_looks_for_it():
    named = {name: volume["name"] for name, volume in COMPOSE["volumes"].items()}
    (mounted,) = RUNS["container_kwargs"]["volumes"]
    for service in OURS.values():
        volume, place = service["volumes"][0].split(":")
        assert f"{named[volume]}:{place}" == mounted
    project = mounted.split(":")[1]
    assert f"TRACEMILL_PROJECT={project}" in DOCKERFILE.split()
    assert INSTANCE["compute_logs"]["config"]["base_dir"].startswith(f"{project}/")


def test_runs_are_on_the_services_network_and_get_what_the_services_know():
    assert COMPOSE["networks"]["default"]["name"] == RUNS["network"]
    for service in OURS.values():
        assert set(RUNS["env_vars"]) <= set(service["environment"])


def test_sensors_are_told_what_they_ask_the_environment_for():
    assert {PRODUCE_NEW, MOST_PARTITIONS, WEBHOOK} <= set(SERVICES["code"]["environment"])


def test_the_database_is_the_one_that_dagster_asks_for():
    (asked,) = INSTANCE["storage"]["postgres"].values()
    given = SERVICES[asked["hostname"]]["environment"]
    assert (given["POSTGRES_USER"], given["POSTGRES_DB"]) == (asked["username"], asked["db_name"])
    assert asked["password"]["env"] in given["POSTGRES_PASSWORD"]
    assert asked["scheme"] == "postgresql+psycopg2"
    assert "dagster-postgres~=0.29.0" in PYPROJECT["project"]["optional-dependencies"]["deploy"]


def test_the_workspace_is_where_the_code_server_listens():
    (entry,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    server, words = entry["grpc_server"], SERVICES["code"]["command"].split()
    told = dict(pairwise(words))
    location = PYPROJECT["tool"]["dg"]["project"]
    assert (server["host"], str(server["port"])) == ("code", told["-p"])
    assert server["location_name"] == told["--location-name"] == location["code_location_name"]
    assert told["-m"] == location["code_location_target_module"]


def test_only_who_launches_and_stops_runs_has_the_docker_socket():
    assert [name for name, service in SERVICES.items() if SOCKET in service["volumes"]] == ["webserver", "daemon"]


def test_nothing_is_reached_from_other_machines():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_is_watched_and_started_again():
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name


def test_every_variable_is_explained_and_the_example_sets_all_that_must_be():
    explained = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    assert explained == {*VARIABLES, "COMPOSE_PROJECT_NAME"}
    assert set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE)) == explained
    assert {name for name, how in VARIABLES.items() if how == ":?"} <= set(re.findall(r"^([A-Z_]+)=", EXAMPLE, re.M))


def test_a_container_for_every_step_adds_the_docker_socket_and_nothing_else():
    added = STEPS["services"]["code"]["environment"]
    context = json.loads(added["DAGSTER_CONTAINER_CONTEXT"])["docker"]
    assert STEPS["services"].keys() == {"code"}
    assert context["env_vars"] == [f"TRACEMILL_EXECUTOR={added['TRACEMILL_EXECUTOR']}"]
    told = context["container_kwargs"]
    assert told.pop("group_add") == ["${DOCKER_GID}"]
    assert told.pop("volumes") == [*RUNS["container_kwargs"]["volumes"], SOCKET]
    assert told == {key: value for key, value in RUNS["container_kwargs"].items() if key != "volumes"}


def test_every_volume_is_explained():
    explained = set(re.findall(r"^\| `(tracemill_\w+)` \|", README, re.MULTILINE))
    assert explained == {volume["name"] for volume in COMPOSE["volumes"].values()}


def test_the_image_is_built_from_the_lock_by_any_builder_and_is_not_root():
    assert "<<" not in DOCKERFILE
    assert "RUN --" not in DOCKERFILE
    assert all("--frozen --no-dev --extra deploy" in line for line in DOCKERFILE.splitlines() if "uv sync" in line)
    assert re.findall(r"^USER (.*)", DOCKERFILE, re.MULTILINE) == ["tracemill"]


def test_all_that_the_image_copies_is_there_and_not_ignored():
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for line in re.findall(r"^COPY ([^-].*)", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]]
    assert {f"!{name}" for name in copied} == {line for line in allowed if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_kubernetes_has_the_limits_retries_and_monitoring_of_compose():
    told = KUBERNETES["additionalInstanceConfig"]
    assert told.keys() == {"nux", "concurrency", "run_monitoring", "run_retries", "retention"}
    assert told == {name: INSTANCE[name] for name in told}
    read = process_config(dagster_instance_config_schema(), told)
    assert read.success, read.errors
    daemon = KUBERNETES["dagsterDaemon"]
    assert all(daemon[once] == {"enabled": False} for once in ("runMonitoring", "runRetries"))
    logs = KUBERNETES["computeLogManager"]["config"]["customComputeLogManager"]
    assert logs == INSTANCE["compute_logs"]


def test_kubernetes_queues_runs_within_the_limits_of_compose(tmp_path: Path):
    """The instance as the chart writes it: what it adds of its own, and what the values give it."""
    asked = KUBERNETES["dagsterDaemon"]["runCoordinator"]
    assert (asked["enabled"], asked["type"]) == (True, "CustomRunCoordinator")
    told = {"run_coordinator": asked["config"]["customRunCoordinator"], **KUBERNETES["additionalInstanceConfig"]}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(told))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        queue = instance.get_concurrency_config().run_queue_config
    limits = INSTANCE["concurrency"]["runs"]
    assert queue
    assert (queue.max_concurrent_runs, queue.tag_concurrency_limits) == tuple(limits.values())


def test_kubernetes_asks_the_webserver_where_it_listens():
    web = KUBERNETES["dagsterWebserver"]
    assert web["readinessProbe"]["httpGet"]["port"] == web["service"]["port"]


def test_kubernetes_runs_one_image_everywhere_and_the_code_server_as_compose_does():
    (code,) = KUBERNETES["dagster-user-deployments"]["deployments"]
    roles = [KUBERNETES["dagsterWebserver"], KUBERNETES["dagsterDaemon"], code]
    assert {role["image"]["repository"].rpartition("/")[2] for role in roles} == {SERVICES["code"]["image"]}
    assert {role["image"]["tag"] for role in roles} == {PYPROJECT["project"]["version"]}
    words = SERVICES["code"]["command"].split()
    assert [word for word in code["codeServerArgs"] if word in words] == code["codeServerArgs"]
    assert str(code["port"]) in words
    place = f"TRACEMILL_PROJECT={code['volumeMounts'][0]['mountPath']}"
    assert place in DOCKERFILE.split()
    assert code["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert "dagster-k8s~=0.29.0" in PYPROJECT["project"]["optional-dependencies"]["deploy"]
