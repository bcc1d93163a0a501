"""Several releases of one model under one attack: what each tells beside the others."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxsnn_mia.config import sweep
from jaxsnn_mia.pipeline import releases
from jaxsnn_mia.settings import Metrics
from tests import runs
from tests.attacks import planted

S, N = 16, 300
KEEP = planted.pairs(S, N)
SETTINGS = Metrics(fprs=(0.05,), replicates_auc=50, replicates_tpr=20)
RELEASE = SimpleNamespace(
    keep=KEEP,
    y=np.zeros(N, int),
    unit_n=np.arange(N),
    valid=np.ones(S, bool),
    canary_n=np.zeros(N, bool),
    phi=planted.phi(KEEP, leak=1.0),
)


def small(**changes):
    """The settings of `runs.small`, with a family that a sweep may vary."""
    return runs.small(model={"family": "snn"}, **changes)


def release(**change):
    made = SimpleNamespace(**{**vars(RELEASE), **change})
    made.signal = lambda name: {"phi": made.phi}[name]
    return made


@pytest.mark.long
def test_releases_with_noise_of_their_own_tell_more_together():
    other = release(phi=planted.phi(KEEP, leak=1.0, seed=8))
    rows = releases.attacked_together({"float": release(), "4 bits": other}, SETTINGS)
    assert [row["release"] for row in rows] == ["float", "4 bits"]
    for row in rows:
        assert row["auc_low"] > 0.02
        assert row["auc_more"] == pytest.approx(row["auc_together"] - row["auc_alone"])
        assert row["tpr_together"] > row["tpr_alone"]


def test_a_copy_tells_nothing_more():
    rows = releases.attacked_together({"float": release(), "copy": release(phi=RELEASE.phi.copy())}, SETTINGS)
    assert all(abs(row["auc_more"]) < 0.001 and row["auc_low"] <= 0 <= row["auc_high"] for row in rows)


def test_canaries_are_not_counted():
    canary = np.arange(N) < N // 2
    phi = [np.where(canary[:, None], planted.phi(KEEP, leak=3.0, seed=s), planted.phi(KEEP, seed=s)) for s in (1, 8)]
    group = {name: release(phi=one, canary_n=canary) for name, one in zip(("float", "4 bits"), phi, strict=True)}
    for row in releases.attacked_together(group, SETTINGS):
        assert abs(row["auc_alone"] - 0.5) < 0.05
        assert abs(row["auc_together"] - 0.5) < 0.05


def test_without_a_leak_two_releases_tell_nothing():
    phi = [planted.phi(KEEP, seed=seed) for seed in (1, 8)]
    rows = releases.attacked_together({"float": release(phi=phi[0]), "4 bits": release(phi=phi[1])}, SETTINGS)
    assert abs(rows[0]["auc_together"] - 0.5) < 3 / np.sqrt(3 * N * S / 2)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"keep": ~KEEP}, "second has other examples or splits than first"),
        ({"y": np.ones(N, int)}, "second has other examples or splits than first"),
        (None, "at least 2 releases of at least 8 shadows are needed, got 1 of 16"),
    ],
)
def test_what_is_no_release_of_the_model_is_refused(second, message):
    group = {"first": release()} | ({} if second is None else {"second": release(**second)})
    with pytest.raises(ValueError, match=message):
        releases.attacked_together(group, SETTINGS)


def test_variants_of_other_bits_or_epochs_are_releases_of_one_model():
    swept = {"dataset": ("digits",), "family": ("ann", "snn"), "bits": (32, 4), "quantize": ("weight", "both")}
    groups = releases.together(sweep.variants(small(sweep=swept)))
    bits = ("bits32-quantizeweight", "bits4-quantizeweight", "bits4-quantizeboth")
    assert groups == [[f"digits-{family}-{what}" for what in (bits[0], bits[1], bits[2])] for family in ("ann", "snn")]
    epochs = releases.together(
        sweep.variants(small(sweep={"dataset": ("digits",), "epoch": (0, 2), "lr": (1e-3, 1e-2)}))
    )
    assert [[name.split("-")[-2:] for name in names] for names in epochs]
    assert all(len({c.split("lr")[1].split("-epoch")[0] for c in names}) == 1 for names in epochs)
    assert releases.together(sweep.variants(small(attacks={"names": ("loss",)}, sweep=swept))) == []
