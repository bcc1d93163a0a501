#!/usr/bin/env bash
# Sets everything up, then checks format, lint and types and runs the tests.
#   bash launch/test.sh [--all] [arguments of pytest]
# --all also runs the long tests, and those whose needs are met (JAXSNN_MIA_DATA: a folder of third-party data files),
# and keeps the transcript in tests/transcripts/.
set -euo pipefail
source "$(dirname "$0")/setup.sh" test
unset PYTHONDONTWRITEBYTECODE  # processes that tests start read compiled modules

ruff format --check .
ruff check .
mypy
if [ "${1:-}" = "--all" ]; then
    shift
    mkdir -p tests/transcripts
    python -m pytest --all --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=60 "$@" | sed -u "s#$root#.#g; s#/tmp/pytest-of-[^/]*#TMP#g" | tee tests/transcripts/all.txt
else
    exec python -m pytest --numprocesses 2 --dist loadfile "$@"
fi
