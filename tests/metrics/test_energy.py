"""Operations of one inference by closed forms and by a loop over spikes."""

import numpy as np
import pytest

from jaxsnn_mia.metrics import energy


def test_a_network_of_values_multiplies_each_weight_once():
    found = energy.work((30, 20, 10, 3), np.zeros((1, 30)), 7, spiking=False)
    assert found[1:] == (0, 30 * 20 + 20 * 10 + 10 * 3, pytest.approx(4.6 * 830 / 1000))
    assert np.isnan(found.firing_rate)
    events = energy.work((30, 20, 3), np.zeros((1, 20)), 7, spiking=False, input_rate=0.1)
    assert events.macs == 7 * 20 * 3
    assert events.synops == pytest.approx(7 * 0.1 * 30 * 20)


@pytest.mark.parametrize("recurrent", [False, True])
def test_spikes_cost_an_addition_for_every_synapse(recurrent):
    """Counted spike by spike over models, examples, steps and neurons."""
    rng, steps, hidden, classes = np.random.default_rng(0), 5, (4, 3), 2
    spikes = rng.random((2, 6, steps, 7)) < 0.3  # [S, N, T, H]
    counted = 0
    for fired in spikes.reshape(-1, 7):
        for h in np.flatnonzero(fired):
            layer = 0 if h < 4 else 1
            counted += (hidden[1], classes)[layer] + (hidden[layer] if recurrent else 0)
    found = energy.work((8, *hidden, classes), spikes.mean(2), steps, spiking=True, recurrent=recurrent)
    assert found.synops == pytest.approx(counted / 12)
    assert found.firing_rate == pytest.approx(spikes.mean())
    assert found.macs == 8 * 4
    assert found.energy_nj == pytest.approx((0.9 * found.synops + 4.6 * 32) / 1000)


def test_rates_of_other_units_are_refused():
    with pytest.raises(ValueError, match=r"`rates` must be \[..., 7\], the hidden units, got \(2, 6\)"):
        energy.work((8, 4, 3, 2), np.zeros((2, 6)), 5, spiking=True)
