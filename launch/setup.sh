# Sourced by the scripts beside it: an environment with the project in it, installed once.
#   source launch/setup.sh EXTRA       makes .venv (or uses the active virtual environment) and activates it
# PYTHON names the interpreter of a new .venv (default python3).

extra="$1"  # an extra of pyproject.toml, or ""
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

if [ -z "${VIRTUAL_ENV:-}" ]; then
    if [ ! -x .venv/bin/python ]; then
        python="${PYTHON:-python3}"
        if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "error: $python must be Python 3.11 or later; name one by PYTHON=/path/to/python3." >&2
            exit 2
        fi
        rm -rf .venv
        "$python" -m venv .venv
    fi
    source .venv/bin/activate
fi

# a stamp of what was installed: the second start does nothing
wanted="$root ${extra} $(cat pyproject.toml launch/constraints.txt | cksum)"
stamp="$VIRTUAL_ENV/.jaxsnn_mia${extra:+-$extra}"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing into $VIRTUAL_ENV ..."
    python -m pip install --quiet --disable-pip-version-check \
        --constraint launch/constraints.txt --editable ".${extra:+[$extra]}"
    echo "$wanted" > "$stamp"
fi
