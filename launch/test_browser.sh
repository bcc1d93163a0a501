#!/usr/bin/env bash
# Opens the report in a real headless Chromium: errors, requests, sorting, overlap, accessibility, downloads, printing.
#   bash launch/test_browser.sh [FOLDER for pictures of the page]
# Uses the chromium that is there, or installs Debian's (as root). The transcript goes to tests/transcripts/browser.txt.
set -euo pipefail
source "$(dirname "$0")/setup.sh" browser

if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    echo "installing chromium ..."
    apt-get update -qq
    apt-get install -y -qq chromium >/dev/null
fi
if [ -n "${1:-}" ]; then
    mkdir -p "$1"
    JAXSNN_MIA_PICTURES="$(cd "$1" && pwd)"
    export JAXSNN_MIA_PICTURES
fi
{
    echo "# $( (chromium --version || google-chrome --version) 2>/dev/null | head -1), $(date -u +%Y-%m-%d)"
    python -m pytest --all -vv -m browser tests/report/test_browser.py
} | sed "s#$root#.#g; s#/tmp/pytest-of-[^/]*#TMP#g" | tee tests/transcripts/browser.txt
if grep -q skipped tests/transcripts/browser.txt; then
    echo "error: not every test ran." >&2
    exit 1
fi
