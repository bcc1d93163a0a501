"""What a benchmark's table says of the machine."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def installed(name: str) -> str | None:
    """The version of an installed distribution; None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
