"""BaVarIA: the scores that its authors published, a slow loop with scipy, and refusals."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from jaxsnn_mia.attacks.lira import bavaria
from tests.attacks import loops, planted

FIXTURE = Path(__file__).parents[2] / "fixtures" / "bavaria_location.npz"


@pytest.mark.parametrize("kind", ["t", "n"])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_published_scores(kind, mode):
    """51 of the 5,010 rows; the priors are those of all rows. Theirs are float32 differences of log densities, so the
    error is measured against the log densities."""
    data = np.load(FIXTURE)
    phi, keep, x = (np.asarray(data[name], float) for name in ("phi", "keep", "target"))
    logs = []
    for side, prior, is_inside in ((keep > 0, data["inside"], True), (keep == 0, data["outside"], False)):
        count = side.sum(0) * (0.0 if is_inside and mode == "offline" else 1.0)
        mean = np.where(side, phi, 0).sum(0) / side.sum(0)
        squares = np.where(side, (phi - mean) ** 2, 0).sum(0) * (count > 0)
        of = bavaria.student if kind == "t" else bavaria.normal
        if kind == "n" and not count.any():
            logs.append(bavaria.log_normal(x, *prior))
        else:
            logs.append(of(x, (count, mean, squares), tuple(prior), bavaria.A0[kind], 1.0))
    log_in, log_out = (np.asarray(log, float) for log in logs)
    error = np.abs(log_in - log_out - data[f"{kind}_{mode}"])
    assert (error < 1e-6 * np.maximum(1, np.abs(log_in) + np.abs(log_out))).all()


@pytest.mark.parametrize("kind", ["t", "n"])
@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("name", ["pairs", pytest.param("separate", marks=pytest.mark.long)])
def test_is_the_slow_loop(name, mode, kind):
    setting = planted.settings()[name]
    phi = setting.diverged(planted.uneven(setting.keep, A=2))
    targets = None if name == "pairs" else np.random.default_rng(3).normal(size=(2, 30, 2)).astype(np.float32)
    ours = bavaria.score(phi, setting.keep, **setting.options, mode=mode, kind=kind, target_phi_kna=targets)

    def of(x, inside, outside):
        return law(x, inside, kind, mode == "offline") - law(x, outside, kind, False)

    np.testing.assert_allclose(
        ours, loops.each(loops.mean_over_queries(of), phi, setting, targets), rtol=1e-5, atol=1e-5
    )


def law(x, values, kind, without, kappa0=1.0):
    """log density [N] of a side's law; `without` its confidences, the prior's."""
    every, out = np.concatenate(values), []
    centre, variance = every.mean(), every.var()
    for at, v in zip(x, values, strict=True):
        n, mean, squares = (0, centre, 0.0) if without else (len(v), v.mean(), ((v - v.mean()) ** 2).sum())
        kappa, a = kappa0 + n, {"t": 2, "n": 1}[kind] + n / 2
        b = variance + squares / 2 + kappa0 * n * (mean - centre) ** 2 / 2 / kappa
        if kind == "t":
            middle = (kappa0 * centre + n * mean) / kappa
            out.append(scipy.stats.t.logpdf(at, 2 * a, middle, np.sqrt(b * (kappa + 1) / a / kappa)))
        else:
            out.append(scipy.stats.norm.logpdf(at, mean, np.sqrt(variance if without else b / (a - 1))))
    return np.array(out)


def test_refusals():
    for options in ({"kind": "x"}, {"a0": 0.0}, {"kappa0": 0.0}, {"mode": "x"}):
        with pytest.raises(ValueError, match="kappa0"):
            bavaria.score(np.zeros((6, 4, 1)), planted.pairs(6, 4), **options)
