import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import lira
from jaxsnn_mia.attacks.lira import likelihood_ratio
from tests.attacks import loops, planted
from tests.attacks.lira.cases import SETTINGS, given


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("variance", ["fixed", "per_example"])
@pytest.mark.parametrize("mode", likelihood_ratio.MODES)
def test_compat_is_the_reference_evaluator(mode, variance, name):
    setting, phi, targets = given(name)
    options = {"mode": mode, "variance": variance, "target_phi_kna": targets}
    got = lira.score(phi, setting.keep, compat="lira2021", **options, **setting.options)
    want = loops.each(loops.lira2021(mode, variance), phi, setting, targets)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.argsort(got, axis=1), np.argsort(want.astype(np.float32), axis=1))


def test_compat_takes_as_many_models_as_the_scarcest_example_has():
    setting, phi, _ = given("separate")
    far = phi.copy()  # the last IN model of an example with more than the fewest
    n = int(np.argmax((setting.keep & setting.valid[:, None]).sum(0)))
    far[np.flatnonzero(setting.keep[:, n] & setting.valid)[-1], n] = 1e6
    scores = [
        lira.score(x, setting.keep, compat="lira2021", target_phi_kna=phi[:2], **setting.options) for x in (phi, far)
    ]
    np.testing.assert_array_equal(*scores)


def test_compat_scores_members_higher():
    keep = planted.pairs(16, 400)
    for mode, least in (("online", 0.65), ("offline", 0.55)):
        phi = planted.phi(keep, leak=2.0 if mode == "offline" else 1.0)
        score = lira.score(phi, keep, partner_s=np.arange(16) ^ 1, compat="lira2021", mode=mode)
        assert metrics.auc(score, keep) > least
