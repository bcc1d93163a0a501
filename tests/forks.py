"""Runs many commands of Python, each in a fork of one process that has imported what they need.

A fork runs a script as `python SCRIPT ARGUMENTS` does and a module as `python -m MODULE ARGUMENTS` does, without the
seconds that the imports take.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tests.runs import ROOT

SERVER = """
import importlib, json, os, runpy, sys, tempfile, traceback

def child(command, out, err):
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = command
            runpy.run_path(command[0], run_name="__main__")
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

modules, commands = json.loads(sys.argv[1])
for name in modules:
    importlib.import_module(name)
for command in commands:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if not os.fork():
            child(command, out, err)
        code = os.waitstatus_to_exitcode(os.wait()[1])
        out.seek(0)
        err.seek(0)
        print(json.dumps([code, out.read(), err.read()]), flush=True)
"""


class Outcome(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(commands: Sequence[Sequence[str]], imported: Sequence[str]) -> list[Outcome]:
    """What each command comes to, from the root of the checkout. A command is [SCRIPT, ARGUMENT ...] or ["-m", MODULE,
    ARGUMENT ...]; the modules `imported` are imported beforehand, and must not define a command's flags."""
    request = json.dumps([list(imported), list(map(list, commands))])
    done = subprocess.run([sys.executable, "-c", SERVER, request], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]
