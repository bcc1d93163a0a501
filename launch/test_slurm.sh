#!/usr/bin/env bash
# Runs launch/slurm.sbatch on a Slurm cluster of one node, made in a temporary folder for the tests and taken down after.
#   bash launch/test_slurm.sh [arguments of pytest]
# Installs Debian's Slurm and munge where they are missing (as root). The transcript is tests/transcripts/slurm.txt.
set -euo pipefail
source "$(dirname "$0")/setup.sh" test

export PATH="$PATH:/usr/sbin"
installed() { command -v slurmctld && command -v slurmd && command -v sbatch && command -v munged; }
if ! installed >/dev/null; then
    if [ "$(id -u)" != 0 ]; then
        echo "error: Slurm or munge is missing. Install slurmctld, slurmd, slurm-client and munge as root." >&2
        exit 2
    fi
    apt-get update -qq
    # a run level of 1: packages start no service
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge >/dev/null
fi

cluster="$(mktemp -d /tmp/jaxsnn_mia-slurm-XXXXXX)"
chmod 755 "$cluster"  # munge wants its socket's folder open to all
export SLURM_CONF="$cluster/slurm.conf"
daemons=()

start() {  # a daemon in the foreground of a process that we know
    "$@" >>"$cluster/$1.log" 2>&1 &
    daemons+=($!)
}

stop() {
    scancel --quiet --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 40); do [ -n "$(squeue --noheader 2>/dev/null)" ] || break; sleep 0.5; done
    kill "${daemons[@]}" 2>/dev/null || true
    for _ in $(seq 20); do kill -0 "${daemons[@]}" 2>/dev/null || break; sleep 0.5; done
    # what is left of jobs and tests: every process of the cluster has its SLURM_CONF
    kill -KILL $(grep -lsz "^SLURM_CONF=$SLURM_CONF\$" /proc/[0-9]*/environ | cut -d/ -f3) 2>/dev/null || true
    rm -rf "$cluster"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

read -r ctld_port slurmd_port < <(python -c '
import socket
free = [socket.create_server(("", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in free))')
host="$(hostname -s)"
mkdir "$cluster/state" "$cluster/spool"
head -c 1024 /dev/urandom >"$cluster/munge.key"
chmod 600 "$cluster/munge.key"
echo "CgroupPlugin=cgroup/v1" >"$cluster/cgroup.conf"
# 4 CPUs, whatever there are: four tasks at once. A requeued task waits for cred_expire seconds, a stopped one has
# KillWait seconds. `urgent` preempts `normal`
cat >"$SLURM_CONF" <<CONF
ClusterName=jaxsnn_mia
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthInfo=socket=$cluster/munge.socket,cred_expire=5
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MinJobAge=600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=4
PartitionName=normal Nodes=$host Default=YES PriorityTier=1
PartitionName=urgent Nodes=$host PriorityTier=2
CONF

start munged --foreground --key-file="$cluster/munge.key" --socket="$cluster/munge.socket" \
    --pid-file="$cluster/munged.pid" --seed-file="$cluster/munged.seed" --log-file="$cluster/munged.log"
for _ in $(seq 50); do [ ! -S "$cluster/munge.socket" ] || break; sleep 0.1; done
start slurmctld -D
start slurmd -D
state() { sinfo --noheader --partition=normal --format=%T 2>&1; }
for _ in $(seq 60); do [ "$(state)" != idle ] || break; sleep 0.5; done
if [ "$(state)" != idle ]; then
    tail -n 20 "$cluster"/*.log >&2
    echo "error: the cluster did not start." >&2
    exit 1
fi

mkdir -p tests/transcripts
{
    sinfo --version
    sinfo
    python -m pytest -m slurm -vv --durations=8 "$@" tests/launch/test_slurm.py
} 2>&1 | sed -u "s#$root#.#g; s#/tmp/pytest-of-[^/]*#TMP#g; s#$cluster#CLUSTER#g" | tee tests/transcripts/slurm.txt &
wait "$!"  # in the background, so that a signal need not wait for it; the status is that of the tests (pipefail)
