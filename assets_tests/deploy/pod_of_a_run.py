"""Run in the image: the pod that Dagster makes for a run of what its chart makes of our values; and what it is told.

Values by standard input, JSON by standard output. Where the chart's words stand here, they are those of its templates.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from dagster import DagsterInstance
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster_k8s.job import construct_dagster_k8s_job

from pipeline.definitions import defs
from pipeline.partitions import BATCHES

values = yaml.safe_load(sys.stdin)
(code,) = values["dagster-user-deployments"]["deployments"]
image = f"{code['image']['repository']}:{code['image']['tag']}"
context = {
    "image_pull_policy": code["image"]["pullPolicy"],
    "env_config_maps": [f"tracemill-dagster-user-deployments-{code['name']}-user-env"],
    "env_secrets": [secret["name"] for secret in code["envSecrets"]],
    "volumes": code["volumes"],
    "volume_mounts": code["volumeMounts"],
    "namespace": "default",
    "service_account_name": "tracemill-dagster-user-deployments",
}
home = Path("/tmp/instance")
home.mkdir()
cluster = {
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "c",
}
(home / "cluster").write_text(json.dumps(cluster))
asked = values["runLauncher"]["config"]["k8sRunLauncher"]
launcher = {
    "load_incluster_config": False,  # the chart's is true; here is no cluster
    "kubeconfig_file": str(home / "cluster"),
    "job_namespace": "default",
    "service_account_name": "tracemill-dagster",
    "dagster_home": "/opt/dagster/dagster_home",
    "instance_config_map": "tracemill-dagster-instance",
    "postgres_password_secret": "dagster-postgresql-secret",
    "image_pull_policy": asked["imagePullPolicy"],
    "fail_pod_on_run_failure": asked["failPodOnRunFailure"],
}
logs = values["computeLogManager"]["config"]["customComputeLogManager"]
told = {
    "run_launcher": {"module": "dagster_k8s", "class": values["runLauncher"]["type"], "config": launcher},
    "compute_logs": logs,
    "telemetry": values["telemetry"],
    "run_coordinator": values["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"],
}
(home / "dagster.yaml").write_text(yaml.safe_dump({**told, **values["additionalInstanceConfig"]}))
instance = DagsterInstance.from_ref(InstanceRef.from_dir(str(home)))
instance.add_dynamic_partitions(str(BATCHES.name), ["pi_tasks"])
repository = RepositoryPythonOrigin(
    executable_path=sys.executable,
    code_pointer=ModuleCodePointer("pipeline.definitions", "defs"),
    container_image=image,
    entry_point=["dagster"],
    container_context={"k8s": context},
)
run = instance.create_run_for_job(
    defs.resolve_job_def("produce"),
    tags={"dagster/partition": "pi_tasks"},
    job_code_origin=JobPythonOrigin("produce", repository),
)
made = instance.run_launcher.get_container_context_for_run(run)
command = ExecuteRunArgs(run.job_code_origin, run.run_id, instance.get_ref(), set_exit_code_on_failure=True)
config = made.get_k8s_job_config(image, instance.run_launcher)
job = construct_dagster_k8s_job(config, command.get_command_args(), "run", user_defined_k8s_config=made.run_k8s_config)
pod = job.to_dict()["spec"]["template"]["spec"]
(container,) = pod["containers"]
given = {one["name"]: one["value"] for one in container["env"] if one["value"]}
done = subprocess.run(container["args"], env={**os.environ, **given}, stdout=sys.stderr)
print(
    json.dumps(
        {
            "image": container["image"],
            "mounts": {one["name"]: one["mount_path"] for one in container["volume_mounts"]},
            "secrets": [one["secret_ref"]["name"] for one in container["env_from"] if one["secret_ref"]],
            "claims": [one["persistent_volume_claim"]["claim_name"] for one in pod["volumes"]],
            "account": pod["service_account_name"],
            "home": given["DAGSTER_HOME"],
            "ended": [done.returncode, instance.get_run_by_id(run.run_id).status.value],
        }
    )
)
