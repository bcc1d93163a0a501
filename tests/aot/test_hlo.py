"""The text of compiled modules: shapes, tiles, loops; and what is counted of it, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.aot import count, hlo, targets

H100, V5E = (targets.parse(name).chip for name in ("h100", "v5e:1x1"))
# two epochs of three steps; a step has a product of [4, 8] by [8, 16], a slice of one row of [100, 16] that is written
# into an array in place, and a kernel that adds two arrays
GPU = """HloModule jit_run, is_scheduled=true

%added (p.0: f32[4,16], p.1: f32[4,16]) -> f32[4,16] {
  %p.0 = f32[4,16]{1,0} parameter(0)
  %p.1 = f32[4,16]{1,0} parameter(1)
  ROOT %add.1 = f32[4,16]{1,0} add(%p.0, %p.1)
}

%row (q.0: f32[100,16], q.1: f32[100,16], q.2: s32[]) -> f32[100,16] {
  %q.0 = f32[100,16]{1,0} parameter(0)
  %q.1 = f32[100,16]{1,0} parameter(1)
  %q.2 = s32[] parameter(2)
  %zero.1 = s32[] constant(0)
  %one.1 = f32[1,16]{1,0} dynamic-slice(%q.0, %q.2, %zero.1), dynamic_slice_sizes={1,16}
  ROOT %put.1 = f32[100,16]{1,0} dynamic-update-slice(%q.1, %one.1, %q.2, %zero.1)
}

%step (c: (s32[], f32[4,8], f32[8,16], f32[100,16])) -> (s32[], f32[4,8], f32[8,16], f32[100,16]) {
  %c = (s32[], f32[4,8]{1,0}, f32[8,16]{1,0}, /*index=3*/f32[100,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %a = f32[4,8]{1,0} get-tuple-element(%c), index=1
  %w = f32[8,16]{1,0} get-tuple-element(%c), index=2
  %t = f32[100,16]{1,0} get-tuple-element(%c), index=3
  %cublas-gemm.1 = (f32[4,16]{1,0}, s8[1024]{0}) custom-call(%a, %w), custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
  %g = f32[4,16]{1,0} get-tuple-element(%cublas-gemm.1), index=0
  %sum.1 = f32[4,16]{1,0} fusion(%g, %g), kind=kLoop, calls=%added
  %rows.1 = f32[100,16]{1,0} fusion(%t, %t, %i), kind=kLoop, calls=%row
  ROOT %out = (s32[], f32[4,8]{1,0}, f32[8,16]{1,0}, f32[100,16]{1,0}) tuple(%i, %a, %w, %rows.1)
}

%until (d: (s32[], f32[4,8], f32[8,16], f32[100,16])) -> pred[] {
  %d = (s32[], f32[4,8]{1,0}, f32[8,16]{1,0}, f32[100,16]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%d), index=0
  %three = s32[] constant(3)
  ROOT %less = pred[] compare(%j, %three), direction=LT
}

%epoch (e: (s32[], f32[4,8], f32[8,16], f32[100,16])) -> (s32[], f32[4,8], f32[8,16], f32[100,16]) {
  %e = (s32[], f32[4,8]{1,0}, f32[8,16]{1,0}, f32[100,16]{1,0}) parameter(0)
  ROOT %while.2 = (s32[], f32[4,8]{1,0}, f32[8,16]{1,0}, f32[100,16]{1,0}) while(%e), condition=%until, body=%step
}

ENTRY %main (m: (s32[], f32[4,8], f32[8,16], f32[100,16])) -> (s32[], f32[4,8], f32[8,16], f32[100,16]) {
  %m = (s32[], f32[4,8]{1,0}, f32[8,16]{1,0}, f32[100,16]{1,0}) parameter(0)
  ROOT %while.1 = (s32[], f32[4,8]{1,0}, f32[8,16]{1,0}, f32[100,16]{1,0}) while(%m), condition=%until, body=%epoch, backend_config={"known_trip_count":{"n":"2"}}
}
"""  # noqa: E501


def test_a_step_is_counted_as_by_hand():
    module = hlo.parse(GPU)
    assert [hlo.trips(module, loop) for loop in hlo.loops(module)] == [2, 3]
    step = count.step(module, 3, H100)
    assert step.kernels == 3
    product = 4 * (4 * 8 + 8 * 16 + 4 * 16) + 1024  # operands, result, workspace
    addition = 4 * 3 * 4 * 16
    row = 4 * (16 + 16) + 4  # the slice, the update, the index
    assert step.nbytes == product + addition + row
    assert step.flops == {"float32": 2 * 4 * 8 * 16}
    assert step.seconds == pytest.approx(3 * H100.launch)  # all are too small for anything else
    assert step.limit == pytest.approx(step.nbytes / H100.bandwidth)
    epoch = count.total(module, hlo.loops(module)[0].called("body"), H100)
    assert (epoch.kernels, epoch.nbytes) == (9, 3 * step.nbytes)


def test_a_large_kernel_takes_its_bytes_or_its_products():
    slow = H100._replace(bandwidth=1e6, launch=0.0)
    step = count.step(hlo.parse(GPU), 3, slow)
    assert step.seconds == pytest.approx(step.nbytes / (count.SHARE_OF_BANDWIDTH * 1e6))
    weak = H100._replace(peak={**H100.peak, "float32": 1e6}, launch=0.0)
    step = count.step(hlo.parse(GPU), 3, weak)
    assert step.seconds == pytest.approx(2 * 4 * 8 * 16 / (count.SHARE_OF_PEAK * 1e6), rel=1e-3)


def test_another_program_is_refused():
    with pytest.raises(ValueError, match="no loop of 5 training steps"):
        count.step(hlo.parse(GPU), 5, H100)
    with pytest.raises(ValueError, match="no HLO module"):
        hlo.parse("HloModule nothing\n")
    body = hlo.parse(GPU).computations["step"]["sum.1"]
    with pytest.raises(ValueError, match="names no body"):
        body.called("body")


def test_tiles_and_the_cores_own_memory():
    padded, own = hlo.shapes("(f32[3,100]{1,0:T(8,128)}, bf16[64,128]{1,0:T(8,128)(2,1)S(1)})")
    assert (padded.nbytes, padded.dims) == (4 * 8 * 128, (3, 100))
    assert (own.nbytes, own.anywhere) == (0, 2 * 64 * 128)
    (turned,) = hlo.shapes("f32[3,100]{0,1:T(8,128)}")
    assert turned.nbytes == 4 * 128 * 104
    assert hlo.shapes("pred[<=7]{0}")[0].nbytes == 7


def test_cycles_of_a_tpu_and_collectives():
    text = GPU.replace(
        "kind=kLoop, calls=%added", 'kind=kLoop, calls=%added, backend_config={"estimated_cycles":"3000"}'
    )
    assert count.step(hlo.parse(text), 3, V5E).seconds == pytest.approx(3000 / 1.5e9)
    assert not count.collectives(hlo.parse(GPU))
    waits = "  %all-reduce.3 = f32[4,16]{1,0} all-reduce(%sum.1), to_apply=%added\n"
    found = hlo.parse(GPU.replace("  %rows.1", f"{waits}  %rows.1"))
    assert count.collectives(found) == ["all-reduce.3"]


@pytest.mark.parametrize(
    ("made", "library"),
    [
        ("f32[2,6,6,5] convolution(%x, %k), window={size=3x3 pad=1_1x1_1}", ""),
        ("f32[2,6,6,5] custom-call(%x, %k)", "__cudnn$convForward"),
        ("f32[2,6,6,4] custom-call(%g, %k)", "__cudnn$convBackwardInput"),  # gradient, weights -> input
        ("f32[3,3,4,5] custom-call(%x, %g)", "__cudnn$convBackwardFilter"),  # input, gradient -> weights
    ],
)
def test_products_of_convolutions(made, library):
    """Of [2, 6, 6, 5] results, windows of 3 x 3 x 4."""
    arrays = {"x": "f32[2,6,6,4]", "k": "f32[3,3,4,5]", "g": "f32[2,6,6,5]"}
    lines = [f"  %{name} = {shape} parameter({at})" for at, (name, shape) in enumerate(arrays.items())]
    computation = {
        i.name: i for i in map(hlo.instruction, [*lines, f"  %out = {made}, dim_labels=b01f_01io->b01f, {library}"])
    }
    assert count.operations(computation, computation["out"]) == 2 * 360 * 36


def test_a_program_of_this_machine():
    """XLA's own text: a loop of seven products."""
    w = jnp.ones((32, 32))

    def run(x):
        return jax.lax.fori_loop(0, 7, lambda i, x: jnp.tanh(x @ w), x)

    module = hlo.parse(jax.jit(run).lower(jnp.ones((16, 32))).compile().as_text())
    (loop,) = hlo.loops(module)
    assert hlo.trips(module, loop) == 7
    counted = count.total(module, module.entry, H100)
    assert counted.flops["float32"] == 7 * 2 * 16 * 32 * 32
    assert np.isfinite(counted.seconds)
