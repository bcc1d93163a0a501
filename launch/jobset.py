"""Writes the Kubernetes JobSet of a run: python launch/jobset.py ... | kubectl apply -f -

Needed once: the JobSet controller (0.10.1 or later), an image, and a claim on a volume that many pods can write
(accessModes: [ReadWriteMany]) and that has file locks: NFS, Filestore, EFS, CephFS. A mounted bucket has no locks.

    FROM python:3.12-slim
    WORKDIR /jaxsnn_mia
    COPY pyproject.toml README.md ./
    COPY jaxsnn_mia jaxsnn_mia
    COPY experiments experiments
    COPY launch launch
    RUN pip install --no-cache-dir -e '.[cuda]' -c launch/constraints.txt        # '.[tpu]' for TPUs

Submit. Flags of experiments/run.py follow --, and the workdir lies under /runs, where the claim is mounted:

    python launch/jobset.py --name=mine --image=IMAGE --claim=runs --processes=8 -- \\
        --config=experiments/configs/quickstart.py --workdir=/runs/mine --config.train.epochs=20 | kubectl apply -f -

That is GPUs, one a pod: pods claim groups of shadows, number 0 leads. A TPU slice in GKE is one program over all hosts:

    python launch/jobset.py --accelerator=tpu --tpu=tpu-v5-lite-podslice --topology=4x4 --name=mine --image=IMAGE -- ...

Follow; the log of pod 0 ends with the table of results, and the report is /runs/mine/report.html on the volume:

    kubectl get pods -l jobset.sigs.k8s.io/jobset-name=mine
    kubectl logs -f -l jobset.sigs.k8s.io/jobset-name=mine,batch.kubernetes.io/job-completion-index=0

Add GPUs in the middle of a run: the same command with --join, another --name and any number of --processes; they claim
what nobody holds and end when all is trained (a JobSet itself cannot grow). Remove them by kubectl delete jobset NAME.

Resume: a pod that is asked to stop (exit code 75) or loses its node is made anew and goes on from the last checkpoint;
one that is refused (exit code 2) ends the JobSet. After that, or to add attacks: kubectl delete jobset mine, and submit
again. Finished stages are not run twice.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import jinja2

MOUNT = "/runs/"
PATIENCE_SECONDS = 86400  # the leader's pod may wait long for a machine
DEVICES = {"gpu": 1, "tpu": 4}
RESOURCES = {"gpu": "nvidia.com/gpu", "tpu": "google.com/tpu"}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--accelerator", choices=DEVICES, default="gpu")
    made.add_argument("--name", default="jaxsnn-mia", help="of the JobSet")
    made.add_argument("--image", required=True, help="with a checkout as its working directory")
    made.add_argument("--claim", default="runs", help="PersistentVolumeClaim of the shared volume")
    made.add_argument("--processes", type=int, default=2, help="pods (gpu)")
    made.add_argument("--join", action="store_true", help="work for a run that is there (gpu)")
    made.add_argument("--tpu", default="tpu-v5-lite-podslice", help="the node pool's gke-tpu-accelerator")
    made.add_argument("--topology", default="4x4", help="the node pool's gke-tpu-topology")
    made.add_argument("--devices", type=int, help="GPUs of a pod (default 1) or TPU chips of a host (default 4)")
    made.add_argument("run", nargs="+", metavar="FLAG", help="flags of experiments/run.py, after --")
    return made


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """What the templates need. ValueError says what does not fit."""
    tpu = given.accelerator == "tpu"
    devices = given.devices or DEVICES[given.accelerator]
    processes = hosts(given.topology, devices) if tpu else given.processes
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", given.name):  # pods are named NAME-shadows-0-INDEX-xxxxx
        raise ValueError(f"--name must be 1 to 40 of a-z, 0-9 and -, from a letter on, got {given.name!r}.")
    if devices < 1 or processes < 1:
        raise ValueError(f"--processes and --devices must be 1 or more, got {processes} and {devices}.")
    if tpu and given.join:
        raise ValueError("--join is for GPUs: the hosts of a slice run one program, which nobody can join.")
    workdirs = [flag.partition("=")[2] for flag in given.run if flag.startswith("--workdir=")]
    if len(workdirs) != 1 or not workdirs[0].startswith(MOUNT):
        raise ValueError(f"one --workdir={MOUNT}... is needed after --: {MOUNT[:-1]} is the shared volume.")
    mode = ["--spmd"] if tpu else ["--worker" if given.join else "--distributed", f"--patience={PATIENCE_SECONDS}"]
    return {**vars(given), "devices": devices, "processes": processes, "arguments": [*given.run, *mode],
            "resource": RESOURCES[given.accelerator]}  # fmt: skip


def hosts(topology: str, devices: int) -> int:
    """The hosts of a slice, by its chips and those of a host."""
    if not re.fullmatch(r"\d+(x\d+){1,2}", topology):
        raise ValueError(f"--topology must be as in 4x4 or 2x2x4, got {topology!r}.")
    chips = math.prod(int(side) for side in topology.split("x"))
    if chips < 1 or devices < 1 or chips % devices:
        raise ValueError(f"--topology={topology} has {chips} chips, not a multiple of --devices={devices} of a host.")
    return chips // devices


def render(given: argparse.Namespace) -> str:
    """The JobSet as YAML. ValueError says what does not fit."""
    values = settings(given)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["json"] = json.dumps  # which is YAML
    return environment.get_template(f"jobset-{given.accelerator}.yaml.j2").render(values)


if __name__ == "__main__":
    try:
        print(render(parser().parse_args()), end="")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
