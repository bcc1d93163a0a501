"""What a stage takes: wall time and peak memory."""

import contextlib
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any


class Meter:
    """Measures from its making on; one at a time, since Linux has one high-water mark for each process."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the mark goes down to what is resident now
        self.start = time.perf_counter()

    def read(self) -> dict[str, Any]:
        """{"seconds", "peak_host_bytes", "peak_device_bytes"} for a manifest."""
        return {
            "seconds": round(time.perf_counter() - self.start, 3),
            "peak_host_bytes": host_peak(),
            "peak_device_bytes": device_peak(),
        }


def host_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def host_peak() -> int:
    """The most bytes of this process that were resident since a Meter was made; where the system cannot begin anew,
    since the process began."""
    with contextlib.suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:", 1)[1].split()[0])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def device_peak() -> int | None:
    """The most bytes in use on any local device since the process began, which JAX cannot begin anew; None where
    devices do not tell, as CPUs."""
    import jax

    told = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in told if "peak_bytes_in_use" in stats]
    return max(peaks, default=None)
