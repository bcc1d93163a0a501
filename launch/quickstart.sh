#!/usr/bin/env bash
# Sets everything up, then audits 256 shadow models on two real data sets and prints the table.
#   bash launch/quickstart.sh [FLAGS of experiments/run.py]
set -euo pipefail
source "$(dirname "$0")/setup.sh" ""
exec python experiments/run.py --config=experiments/configs/quickstart.py --workdir=runs/quickstart "$@"
