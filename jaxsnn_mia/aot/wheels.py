"""The compilers of accelerators, as wheels in a folder of their own: on the path of every run, the CUDA plugin would
log errors where there is no GPU. Programs are compiled in a child process, which finds them.

    python -m jaxsnn_mia.aot.wheels [FOLDER]

installs them: 1.3 GB, by default under ~/.cache/jaxsnn_mia, which JAXSNN_MIA_AOT names otherwise.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import jax

CHILD = "JAXSNN_MIA_AOT_CHILD"  # set in the child process
MODULES = ("libtpu", "jax_plugins")


def folder() -> Path:
    """Where the wheels of this version of JAX are."""
    default = Path.home() / f".cache/jaxsnn_mia/aot-jax-{jax.__version__}"
    return Path(os.environ.get("JAXSNN_MIA_AOT", default)).expanduser()


def requirements() -> list[str]:
    """Those that this version of JAX names for TPUs and for CUDA 12, without the libraries that only a GPU needs."""
    of_tpu = [line for line in importlib.metadata.requires("jax") or [] if re.match(r"libtpu\b.*extra", line)]
    plugin = f"=={jax.__version__}"
    return [
        *(line.split(";")[0].strip() for line in of_tpu[:1]),
        f"jax-cuda12-plugin{plugin}",
        f"jax-cuda12-pjrt{plugin}",
        "nvidia-cuda-nvcc-cu12",
    ]


def there() -> bool:
    return all((folder() / module).is_dir() for module in MODULES)


def environment() -> dict[str, str]:
    """Of a child process that compiles for accelerators and computes on the CPU."""
    path = os.pathsep.join([str(folder()), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ, "PYTHONPATH": path, CHILD: "1", "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip


def in_child() -> bool:
    return CHILD in os.environ


def run_again(argv: list[str]) -> subprocess.CompletedProcess:
    """The command once more, in a child process that finds the wheels. What the compilers log is kept apart.

    Raises:
      ValueError: the wheels are not there.
    """
    if not there():
        raise ValueError(
            f"--target needs the compilers' wheels in {folder()}, which are not there. "
            "Install them by `python -m jaxsnn_mia.aot.wheels`, or name their folder in JAXSNN_MIA_AOT."
        )
    return subprocess.run([sys.executable, *argv], env=environment(), capture_output=True, text=True)


def main(argv: list[str]) -> None:
    where = Path(argv[0]) if argv else folder()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
    subprocess.run([*pip, "--target", str(where), *requirements()], check=True)
    print(where)


if __name__ == "__main__":
    main(sys.argv[1:])
