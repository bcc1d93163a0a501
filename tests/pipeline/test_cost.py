import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxsnn_mia import config
from jaxsnn_mia.pipeline import cost
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.training import claims as distributed
from jaxsnn_mia.training import probe
from jaxsnn_mia.training.claims import share, wait_for
from jaxsnn_mia.training.probe import flops


def test_flops_of_a_product_and_of_a_scan():
    x, w = jnp.zeros((8, 16)), jnp.zeros((16, 16))

    def chain(x, w):
        return lax.scan(lambda v, _: (v @ w, None), x, length=5)[0]

    one = flops(jax.make_jaxpr(jnp.matmul)(x, w).jaxpr)
    assert one == 2 * 8 * 16 * 16
    assert flops(jax.make_jaxpr(chain)(x, w).jaxpr) == 5 * one
    assert flops(jax.make_jaxpr(jax.jit(chain))(x, w).jaxpr) == 5 * one


def test_a_dry_run_counts_models_and_writes_only_its_probes(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "PROBE_SECONDS", 100.0)
    monkeypatch.setattr(probe, "ENOUGH_SECONDS", 0.01)
    c = config.from_dict(
        {"splits": {"n_shadows": 8}, "model": {"hidden": (16,), "time_steps": 2}, "train": {"epochs": 3},
         "sweep": {"dataset": ("iris",), "lr": (1e-3, 1e-2)}}
    )  # fmt: skip
    costs = cost.estimate(c, tmp_path)
    assert [one.models for one in costs] == [8, 8]
    assert [one.parameters for one in costs] == [4 * 16 + 16 + 16 * 3 + 3] * 2
    assert costs[1].flops == costs[0].flops > 0
    assert all(one.measured and one.seconds > 0 for one in costs)
    assert [path.name for path in tmp_path.iterdir()] == ["probe.json"]
    assert cost.estimate(c, tmp_path) == costs
    text = cost.as_text(costs)
    assert "16 models in about" in text
    assert "nothing was trained" in text


@pytest.mark.parametrize("missing", ["JAX_PROCESS_ID", "JAX_NUM_PROCESSES"])
def test_a_share_needs_both_variables(missing, tmp_path, monkeypatch):
    environ = {"JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2"}
    assert share(environ)[:2] == (1, 2)
    del environ[missing]
    with pytest.raises(ValueError, match=missing):
        share(environ)
    monkeypatch.setattr(distributed, "POLL_SECONDS", 0.05)
    polls = iter([False] * 10)
    with pytest.raises(StoreError, match=r"no process leads in.* after 0\.1 s.*--patience"):
        wait_for(lambda: next(polls), "nothing", tmp_path, 0.1)
    slow = iter([False] * 6 + [True])  # the leader comes after .3 s, of which nobody led
    wait_for(lambda: next(slow), "a leader", tmp_path, 0.4)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 2"):
        share({"JAX_PROCESS_ID": "2", "JAX_NUM_PROCESSES": "2"})


@pytest.mark.long
def test_a_dry_run_takes_the_rows_that_are_asked_for_and_refuses_what_does_not_fit():
    few, all_of = (cost.synthetic_work(config.from_dict({"data": {"name": "iris", "rows": rows}})) for rows in (100, 0))
    assert [len(work.data[0]) for work in (few, all_of)] == [85, 127]
    with pytest.raises(ValueError, match=r"`model\.architecture` must be 'dense' or 'recurrent' for iris"):
        cost.estimate(config.from_dict({"data": {"name": "iris"}, "model": {"architecture": "vgg11"}}))
    with pytest.raises(ValueError, match=r"`model\.time_steps` must be 4 for moving_glyphs:4"):
        cost.estimate(config.from_dict({"data": {"name": "moving_glyphs:4"}}))
