"""Accelerators by name, from published figures, and their devices as the compilers see them without one."""

import re
from typing import Any, NamedTuple

import jax

GB, TB = 1e9, 1e12


class Chip(NamedTuple):
    """One device.

    Attributes:
      platform: "gpu" or "tpu".
      kind: its name as JAX and XLA say it.
      memory: bytes.
      bandwidth: of its memory, bytes a second.
      peak: products a second, 2 a multiply-add, by the type of the operands: "float32", "tf32", "bfloat16".
      launch: seconds that a kernel takes at least.
      clock: hertz, of what XLA estimates in cycles.
      description: further figures of the text proto that XLA compiles a GPU's programs by.
    """

    platform: str
    kind: str
    memory: float
    bandwidth: float
    peak: dict[str, float]
    launch: float
    clock: float
    description: dict[str, int]


HOPPER = {
    "major": 9, "minor": 0, "cores": 132, "shared_memory_per_core": 233_472, "shared_memory_per_block_optin": 232_448,
    "l2": 52_428_800,
}  # fmt: skip
AMPERE = {
    "major": 8, "minor": 0, "cores": 108, "shared_memory_per_core": 167_936, "shared_memory_per_block_optin": 166_912,
    "l2": 41_943_040,
}  # fmt: skip
OF_HOPPER = {"float32": 67 * TB, "tf32": 495 * TB, "bfloat16": 989 * TB}
OF_AMPERE = {"float32": 19.5 * TB, "tf32": 156 * TB, "bfloat16": 312 * TB}
# data sheets of NVIDIA (H100 SXM, H200 SXM, A100 SXM 80 GB; dense products) and of Google Cloud (v5e, v6e).
# A TPU computes products of float32 as several of bfloat16: XLA's estimated cycles know that, `peak` does not
CHIPS = {
    "h100": Chip("gpu", "NVIDIA H100 80GB HBM3", 84_942_979_072, 3.35 * TB, OF_HOPPER, 2.5e-6, 1.98e9, HOPPER),
    "h200": Chip("gpu", "NVIDIA H200", 150_754_820_096, 4.8 * TB, OF_HOPPER, 2.5e-6, 1.98e9, HOPPER),
    "a100": Chip("gpu", "NVIDIA A100-SXM4-80GB", 84_987_740_160, 2.039 * TB, OF_AMPERE, 2.5e-6, 1.41e9, AMPERE),
    "v5e": Chip("tpu", "TPU v5 lite", 16 * GB, 819 * GB, {"bfloat16": 197 * TB}, 0.0, 1.5e9, {}),
    "v6e": Chip("tpu", "TPU v6 lite", 32 * GB, 1640 * GB, {"bfloat16": 918 * TB}, 0.0, 1.75e9, {}),
}
PROTO = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: {shared_memory_per_core} threads_per_core_limit: 2048
  core_count: {cores} fpus_per_core: {fpus}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {l2} clock_rate_ghz: {clock} device_memory_size: {memory}
  shared_memory_per_block_optin: {shared_memory_per_block_optin}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  device_vendor: "NVIDIA Corporation" platform_version: "Compute Capability {major}.{minor}" device_address_bits: 64
  name: "{kind}" driver_version: "12.8.0" runtime_version: "12.8.0" compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{kind}"
"""


class Target(NamedTuple):
    """A chip and how many of them: `x`, `y` of a TPU slice, or `x` GPUs of one machine."""

    name: str
    chip: Chip
    x: int
    y: int


def parse(name: str) -> Target:
    """The target of `h100`, `h100:8`, `v5e:4x4` and their kin.

    Raises:
      ValueError: another name, with those that are known.
    """
    matched = re.fullmatch(r"(\w+)(?::(\d+)(?:x(\d+))?)?", name)
    chip = CHIPS.get(matched[1]) if matched else None
    if matched is None or chip is None or (chip.platform == "gpu" and matched[3]):
        raise ValueError(
            f"--target must be one of {', '.join(CHIPS)}, with how many of them: h100:8, v5e:4x4; got {name!r}."
        )
    x, y = int(matched[2] or 1), int(matched[3] or 1)
    if x * y < 1 or (chip.platform == "tpu" and matched[2] and not matched[3]):
        raise ValueError(f"--target={name} must name a slice as v5e:2x2 or v5e:4x4, or at least one GPU.")
    return Target(name, chip, x, y)


def devices(target: Target) -> list[Any]:
    """The target's devices, for programs that are compiled and not run. The compiler's wheels must be importable."""
    from jax.experimental import topologies

    if target.chip.platform == "tpu":
        shape = f"{target.name.partition(':')[0]}:{target.x}x{target.y}"
        one = {"chips_per_host_bounds": (1, 1, 1)} if target.x * target.y == 1 else {}
        return list(topologies.get_topology_desc(platform="tpu", topology_name=shape, **one).devices)
    jax.devices()  # finds the plugin
    described = topologies.get_topology_desc(
        platform="cuda", topology_name=target.name, topology=f"1x1x{target.x}", target_config=description(target.chip)
    )
    return list(described.devices)


def description(chip: Chip) -> str:
    """The text proto of a GPU."""
    fpus = 128 if chip.description["major"] == 9 else 64  # float32 units of a core
    return PROTO.format(
        **chip.description, fpus=fpus, kind=chip.kind, bandwidth=int(chip.bandwidth), memory=int(chip.memory),
        clock=chip.clock / 1e9,
    )  # fmt: skip
