"""The most exposed examples are those that the attack tells, shown as images or in words."""

import numpy as np

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import exposure
from jaxsnn_mia.report import exposed
from tests.report import audits
from tests.report.audits import N, S


def test_the_most_exposed_examples_are_those_that_the_attack_finds():
    held = audits.read("leaks")["leaks"].examples
    scores = audits.lira(2.0)
    caught = exposure.exposure(scores, audits.KEEP, 0.05, np.arange(S) // 2)
    np.testing.assert_allclose(held["caught"], caught)
    np.testing.assert_array_equal(held["members"], audits.KEEP.sum(0))
    phi = audits.logits(2.0).signal("phi")[:, :, 0]
    np.testing.assert_allclose(held["auc"], [metrics.auc(phi[:, n], audits.KEEP[:, n]) for n in range(N)])
    shown = exposed.most_exposed(held, None)
    assert [one.caught for one in shown] == sorted(caught.tolist(), reverse=True)[: exposed.SHOWN]
    assert caught[shown[0].number] == shown[0].caught == caught.max()


def test_equals_share_a_rank_and_a_list_that_breaks_off_among_them_says_so():
    auc = np.r_[np.full(3, 0.9), np.full(20, 0.8), np.linspace(0.5, 0.7, 30)]
    held = {"auc": auc, "caught": np.where(auc > 0.75, 1.0, 0.1), "members": np.full(len(auc), 4)}
    shown = exposed.most_exposed(held, None)
    assert [(one.rank, one.tied) for one in shown] == [(1, 3)] * 3 + [(4, 20)] * 9
    assert exposed.tie_in_words(shown) == (
        " 20 examples share rank 4; the 9 of them with the lowest numbers are shown."
    )
    assert exposed.tie_in_words(shown[:3]) == ""
    assert exposed.most_exposed({**held, "auc": np.full(len(auc), np.nan)}, None) == []


def test_examples_are_shown_as_images_where_they_are():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(exposed.picture(image), image)
    np.testing.assert_array_equal(exposed.picture(image[..., :1]), image[..., 0])
    pixels = exposed.picture(np.array([0.0, 1.0, 2.0, 4.0]), ["pixel_0_0", "pixel_0_1", "pixel_1_0", "pixel_1_1"])
    np.testing.assert_array_equal(pixels, [[0, 63], [127, 255]])
    assert exposed.picture(np.zeros(4), ["a", "b", "c", "d"]) is None
    events = np.zeros((3, 4, 5, 2), np.uint8)  # [T, H, W, polarity]
    events[:, 1, 2, 0] = 1
    shown = exposed.picture(events)
    assert shown.shape == (4, 5, 3)
    assert shown[1, 2].tolist() == [255, 0, 0]
    assert exposed.as_png(shown).startswith("data:image/png;base64,iVBOR")
    table = np.random.default_rng(0).normal(size=(50, 5))
    table[7, 3] = 9.0
    (z_d,) = exposed.in_deviations(table, np.array([7]))
    np.testing.assert_allclose(z_d, (table[7] - table.mean(0)) / table.std(0))
    assert exposed.in_words(z_d, ["a", "b", "c", "d", "e"]).startswith(f"d {z_d[3]:+.1f} sd, ")
    assert exposed.in_words(z_d).startswith("column 3 +")
    assert exposed.in_deviations(events, np.array([0])) is None
