"""The JobSets of launch/jobset.py and the task of launch/skypilot.yaml, without a cluster: against the published
schemas, and against the flags, variables and exit codes of experiments/run.py.

python -m tests.test_jobset > tests/transcripts/schema.txt
"""

import copy
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jaxsnn_mia.runtime import spmd, stopping
from jaxsnn_mia.training import claims as distributed
from launch import jobset

ROOT = Path(__file__).parents[2]
CONFIG = "experiments/configs/quickstart.py"
RUN = [f"--config={CONFIG}", "--workdir=/runs/mine", "--config.sweep.dataset=('iris',)"]
VARIANTS = {"gpu": ["--processes=3"], "gpu, joining": ["--join"], "tpu": ["--accelerator=tpu", "--topology=4x4"]}
OLDEST, NEWEST = "1.31", "1.37"  # of Kubernetes; podFailurePolicy is stable since 1.31
# where, what is put there, what a validator must say of it
BROKEN = {
    "replica": (("spec", "replicatedJobs", 0), {"replica": 2}, "JobSet changed"),
    "annotation": (("metadata",), {"annotation": {"a": "b"}}, "JobSet changed"),
    "maxRestart": (("spec",), {"failurePolicy": {"maxRestart": 3}}, "JobSet changed"),
    "maxRestarts as text": (("spec",), {"failurePolicy": {"maxRestarts": "3"}}, "valid integer"),
    "a rule without a name": (("spec",), {"failurePolicy": {"rules": [{"action": "FailJobSet"}]}}, "JobSet changed"),
    "replicas as text": (("spec", "replicatedJobs", 0), {"replicas": "one"}, "valid integer"),
    "backoffLimits": (("job", "spec"), {"backoffLimits": 3}, "'backoffLimits' was unexpected"),
    "completions as text": (("job", "spec"), {"completions": "all"}, "'all' is not of type 'integer'"),
    "restartpolicy": (("pod",), {"restartpolicy": "Never"}, "'restartpolicy' was unexpected"),
    "a period as text": (("pod",), {"terminationGracePeriodSeconds": "2m"}, "'2m' is not of type 'integer'"),
    "resource": (("pod", "containers", 0), {"resource": {}}, "'resource' was unexpected"),
    "a number as a variable": (("pod", "containers", 0), {"env": [{"name": "A", "value": 3}]}, "3 is not of type"),
    "a claim without a name": (("pod",), {"volumes": [{"name": "runs", "persistentVolumeClaim": {}}]}, "'claimName'"),
}
SHORT = {"job": ("spec", "replicatedJobs", 0, "template"), "pod": ("spec", "template", "spec")}


def rendered(flags):
    return yaml.safe_load(jobset.render(jobset.parser().parse_args([*flags, "--image=mia:1", "--", *RUN])))


def job(manifest):
    return manifest["spec"]["replicatedJobs"][0]["template"]


def main(manifest):
    return job(manifest)["spec"]["template"]["spec"]["containers"][0]


def problems(manifest, *kubernetes):
    """What the published schemas find: of JobSet v1alpha2, and of a batch/v1 Job in these versions of Kubernetes."""
    import kubernetes_validate
    import pydantic
    from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

    found = []
    try:
        if JobsetV1alpha2JobSet.from_dict(manifest).to_dict() != manifest:
            found.append("JobSet changed in a round trip: unknown fields are dropped, required ones filled in")
    except pydantic.ValidationError as error:
        found.append(f"JobSet: {error}")
    for version in kubernetes:
        document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "shadows"}, **job(manifest)}
        try:
            assert kubernetes_validate.validate(document, version, strict=True) == version
        except kubernetes_validate.ValidationError as error:
            found.append(f"Job of Kubernetes {version}: {error}")
    return found


def broken(manifest, path, change):
    """The manifest with a fault at `path`, whose first words may stand for the job or its pod."""
    manifest = copy.deepcopy(manifest)
    path = (*SHORT["job"], *SHORT["pod"], *path[1:]) if path[0] == "pod" else path
    path = (*SHORT["job"], *path[1:]) if path[0] == "job" else path
    place = manifest
    for key in path:
        place = place[key]
    place.update(change)
    return manifest


def outcome(manifest, code=None):
    """What becomes of a pod's exit code, or of a drained node (None): by the Job's rules, whose message is as the Job
    controller words it, then by the JobSet's."""
    spec = job(manifest)["spec"]
    for index, rule in enumerate(spec["podFailurePolicy"]["rules"]):
        codes = rule.get("onExitCodes", {"values": [None], "containerName": main(manifest)["name"]})
        if code in codes["values"] and codes["containerName"] == main(manifest)["name"]:
            what = f"failed with exit code {code}" if code else "has condition DisruptionTarget"
            reason, message = "PodFailurePolicy", f"{what} matching {rule['action']} rule at index {index}"
            if rule["action"] != "FailJob":
                return rule["action"]
            break
    else:
        if spec["backoffLimit"]:
            return "Count"
        reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    policy = manifest["spec"].get("failurePolicy")
    for rule in policy["rules"] if policy else ():
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule["onJobFailureReasons"] and any(re.search(pattern, message) for pattern in patterns):
            return rule["action"]
    return "RestartJobSet" if policy else "FailJobSet"


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_schemas_know_every_field(variant):
    assert problems(rendered(VARIANTS[variant]), OLDEST, NEWEST) == []


@pytest.mark.parametrize("variant", ["gpu", "tpu"])
@pytest.mark.parametrize("fault", BROKEN)
def test_schemas_find_a_fault(fault, variant):
    path, change, message = BROKEN[fault]
    versions = [NEWEST] if path[0] in SHORT else []
    assert message in "\n".join(problems(broken(rendered(VARIANTS[variant]), path, change), *versions))


def test_gpu_processes_are_numbered_as_distributed_reads_them():
    manifest = rendered(VARIANTS["gpu"])
    spec, env = job(manifest)["spec"], {entry["name"]: entry for entry in main(manifest)["env"]}
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 3
    index = env["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    world = env["JAX_NUM_PROCESSES"]["value"]
    shares = [distributed.share({"JAX_PROCESS_ID": str(i), "JAX_NUM_PROCESSES": world}) for i in range(3)]
    assert [(share.rank, share.world) for share in shares] == [(0, 3), (1, 3), (2, 3)]
    assert env.keys() == {"JAX_PROCESS_ID", "JAX_NUM_PROCESSES"} < set(spmd.VARIABLES)
    assert "env" not in main(rendered(VARIANTS["gpu, joining"]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_workdir_is_on_the_claimed_volume(variant):
    manifest = rendered([*VARIANTS[variant], "--claim=shared"])
    (volume,), (mount,) = job(manifest)["spec"]["template"]["spec"]["volumes"], main(manifest)["volumeMounts"]
    assert volume == {"name": mount["name"], "persistentVolumeClaim": {"claimName": "shared"}}
    assert RUN[1].startswith(f"--workdir={mount['mountPath']}/")
    assert main(manifest)["args"][: len(RUN)] == RUN


def test_the_command_prints_the_jobset():
    command = [sys.executable, ROOT / "launch/jobset.py", *VARIANTS["tpu"], "--image=mia:1", "--", *RUN]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert yaml.safe_load(printed) == rendered(VARIANTS["tpu"])


@pytest.mark.parametrize(
    ("topology", "devices", "hosts"), [("4x4", None, 4), ("2x4", 8, 1), ("2x2x4", None, 4), ("2x2", None, 1)]
)
def test_a_tpu_slice_has_a_pod_on_every_host(topology, devices, hosts):
    flags = ["--accelerator=tpu", f"--topology={topology}", *([f"--devices={devices}"] if devices else [])]
    manifest = rendered(flags)
    spec = job(manifest)["spec"]
    assert spec["completions"] == spec["parallelism"] == hosts
    assert main(manifest)["resources"]["limits"] == {"google.com/tpu": devices or 4}
    assert spec["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": topology,
    }
    assert "env" not in main(manifest)  # spmd.start then leaves it to JAX


def test_exit_codes_mean_in_the_cluster_what_they_mean_in_the_project():
    refused = subprocess.run([sys.executable, ROOT / "launch/jobset.py", "--image=i", "--", "--workdir=elsewhere"],
                             capture_output=True, text=True)  # fmt: skip
    assert refused.returncode == 2
    assert refused.stderr == "error: one --workdir=/runs/... is needed after --: /runs is the shared volume.\n"
    codes = (refused.returncode, stopping.REQUEUE, None, 1)
    for variant in ("gpu", "gpu, joining"):
        outcomes = [outcome(rendered(VARIANTS[variant]), code) for code in codes]
        assert outcomes == ["FailJobSet", "Ignore", "Ignore", "Count"]
    again = "RestartJobSetAndIgnoreMaxRestarts"
    assert [outcome(rendered(VARIANTS["tpu"]), code) for code in codes] == ["FailJobSet", again, again, "RestartJobSet"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--name=Mine_2"], "--name must be"),
        (["--processes=0"], "must be 1 or more, got 0 and 1"),
        (["--accelerator=tpu", "--topology=4by4"], "as in 4x4 or 2x2x4, got '4by4'"),
        (["--accelerator=tpu", "--topology=2x3"], "has 6 chips, not a multiple of --devices=4"),
        (["--accelerator=tpu", "--join"], "--join is for GPUs"),
    ],
)
def test_what_does_not_fit_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        rendered(flags)


def sky(tmp_path, nodes, rank=0):
    """The command that the task runs on a node, and its environment: a python that prints them stands in."""
    task = yaml.safe_load((ROOT / "launch/skypilot.yaml").read_text())
    (tmp_path / "launch").mkdir(exist_ok=True)
    (tmp_path / "launch/setup.sh").write_text("")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$JAX_PROCESS_ID/$JAX_NUM_PROCESSES" "$@"\n')
    python.chmod(0o755)
    environ = {**task["envs"], "PATH": f"{tmp_path}:{os.environ['PATH']}",
               "SKYPILOT_NUM_NODES": str(nodes), "SKYPILOT_NODE_RANK": str(rank)}  # fmt: skip
    return subprocess.run(["bash", "-c", task["run"]], env=environ, cwd=tmp_path, capture_output=True, text=True,
                          check=True).stdout.splitlines()  # fmt: skip


def parsed(commands, tmp_path):
    """The exit code of run.py's parse for the flags of each command; run.py is imported once, and a config of one
    setting stands in for that of the command, which takes longer to import than all of this."""
    (tmp_path / "config.py").write_text(
        "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'sweep': {'dataset': ()}})\n"
    )
    commands = [[flag.replace(CONFIG, str(tmp_path / "config.py")) for flag in flags] for flags in commands]
    script = """
import json, os, sys, run
for sys.argv[1:] in json.loads(sys.argv[1]):
    if not os.fork():
        run.parse(sys.argv)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script, json.dumps(commands)], cwd=ROOT, check=True,
                          env={**os.environ, "PYTHONPATH": "experiments"}, capture_output=True, text=True)  # fmt: skip
    return [int(line) for line in done.stdout.split()]


@pytest.mark.long
def test_commands_are_accepted_by_run_py(tmp_path):
    one, two = sky(tmp_path, 1), sky(tmp_path, 2, rank=1)
    assert (one[0], two[0]) == ("/", "1/2")
    assert one[1] == two[1] == "experiments/run.py"
    assert two[2:] == [*one[2:], "--distributed", f"--patience={jobset.PATIENCE_SECONDS}"]
    manifests = [rendered(flags) for flags in VARIANTS.values()]
    assert all(main(manifest)["command"] == ["python", "experiments/run.py"] for manifest in manifests)
    modes = [main(manifest)["args"][len(RUN)] for manifest in manifests]
    assert modes == ["--distributed", "--worker", "--spmd"]
    commands = [one[2:], two[2:], *[main(manifest)["args"] for manifest in manifests]]
    assert parsed(commands, tmp_path) == [0] * 5
    assert parsed([[*commands[0], "--distribute"], [*commands[1], "--worker"]], tmp_path) == [2, 2]


def test_the_task_of_skypilot_is_short_and_comes_back_after_a_stop():
    text = (ROOT / "launch/skypilot.yaml").read_text()
    assert len(text.splitlines()) <= 30
    assert yaml.safe_load(text)["resources"]["job_recovery"]["recover_on_exit_codes"] == [stopping.REQUEUE]


@pytest.mark.long
def test_the_pods_of_a_rendered_jobset_share_a_run(tmp_path):
    """Every pod's own command and variables, as processes, and those of a second JobSet that joins them."""
    pods = []
    for flags in (["--processes=2"], ["--join", "--processes=1"]):
        manifest = rendered(flags)
        args = [arg.replace("/runs/", f"{tmp_path}/").replace("quickstart.py", "quickstart.py:smoke")
                for arg in main(manifest)["args"]]  # fmt: skip
        for index in range(job(manifest)["spec"]["completions"]):
            env = {e["name"]: e.get("value", str(index)) for e in main(manifest).get("env", ())}
            pods.append((args, {**os.environ, **env}))
    started = [
        subprocess.Popen([sys.executable, "experiments/run.py", *args], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
        for args, env in pods
    ]  # fmt: skip
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    assert [bool(out) for out, _ in said] == [True, False, False]
    assert (tmp_path / "mine/report.html").exists()


if __name__ == "__main__":
    from kubernetes_validate.utils import all_versions, major_minor

    versions = [version for version in dict.fromkeys(map(major_minor, all_versions())) if version >= OLDEST]
    models, schemas = (importlib.metadata.version(name) for name in ("kubeflow-trainer-api", "kubernetes-validate"))
    print(f"JobSet: jobset.x-k8s.io/v1alpha2, models of kubeflow-trainer-api {models}, nothing lost in a round trip")
    print(f"Job and pod: batch/v1, strict schemas of Kubernetes {', '.join(versions)} (kubernetes-validate {schemas})")
    for name, flags in VARIANTS.items():
        manifest = rendered(flags)
        faults = [problems(broken(manifest, path, change), NEWEST) for path, change, _ in BROKEN.values()]
        count = len(problems(manifest, *versions))
        print(f"{name}: {count} problems; of {len(faults)} faults put in, {sum(map(bool, faults))} found")
