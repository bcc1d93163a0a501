"""The predecessor's attack: who trains on what, what the attack sees, what each replacement changes."""

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiments.study import as_released
from experiments.study import released_attack as attack
from jaxsnn_mia import data
from jaxsnn_mia.data import splits
from jaxsnn_mia.training.step import Norm

UNTRAINED = {"ann": 1e-30, "snn": 1e-30}  # no step changes a weight
SMALL = attack.Settings({"ann": 1e-3, "snn": 1e-3}, hidden=16, shadows=12)


def rows_of(n=160, features=6, classes=2, seed=0):
    """Rows with labels that nothing in them tells: only by heart can they be learned."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(3, 2, (n, features)), rng.permutation(np.arange(n) % classes)
    return data.make_dataset(x, y, [str(c) for c in range(classes)], "test")


TABLE = rows_of()


def some(*by_default):
    """The replacements, those that are not `by_default` for --all."""
    return [pytest.param(name, marks=[] if name in by_default else pytest.mark.long) for name in attack.REPLACED]


def within(values, expected=0.5, errors=3.0):
    """Whether the mean is within so many standard errors of what is expected."""
    values = np.asarray(values)
    return abs(values.mean() - expected) < errors * values.std(ddof=1) / len(values) ** 0.5


def columns(rows, name="auc"):
    return np.array([row[name] for row in rows])


@pytest.fixture
def fake(monkeypatch):
    """Puts made-up logits [S, N, C] in the place of trained models; gives a list of what was asked."""

    def use(logits_of):
        seen = []

        def answers(d, keep_sn, scale_sn, ids_s, s, *, family, lr, readout, names):
            seen.append({"keep": keep_sn, "scale": scale_sn, "ids": ids_s, "family": family, "lr": lr,
                         "readout": readout, "names": names})  # fmt: skip
            logits_snc = logits_of(d, keep_sn, ids_s)
            own = np.take_along_axis(logits_snc, d.y[None, :, None], 2)[..., 0]
            rest = np.where(np.arange(logits_snc.shape[2]) == d.y[:, None], -np.inf, logits_snc)
            phi_sn = own - np.log(np.exp(rest).sum(2))
            right_sn = (logits_snc.argmax(2) == d.y).astype(np.uint8)
            return {"logits": logits_snc[:, :, None], "phi": np.float32(phi_sn)[..., None],
                    "correct": right_sn[..., None]}  # fmt: skip

        monkeypatch.setattr(attack, "answers", answers)
        return seen

    return use


def unrelated(d, keep_sn, ids_s):
    """Outputs that have nothing to do with rows, membership or each other."""
    return np.stack([np.random.default_rng(i).normal(size=(len(d.x), len(d.class_names))) for i in ids_s])


def of_the_row(d, keep_sn, ids_s):
    """Outputs that depend on the row alone: all models are one, which never saw any of them."""
    one = np.random.default_rng(9).normal(size=(len(d.x), len(d.class_names)))
    return np.repeat(one[None], len(ids_s), 0)


def by_heart(d, keep_sn, ids_s):
    """Members have 3 more in the logit of their label."""
    return unrelated(d, keep_sn, ids_s) + 3 * keep_sn[..., None] * np.eye(len(d.class_names))[d.y]


@pytest.mark.parametrize("n", [149, 150, 1797])
@pytest.mark.parametrize("seed", [0, 5])
def test_as_released_the_shadows_rows_are_the_targets(n, seed):
    r = attack.as_released(n, np.random.default_rng(seed))
    target, target_out, shadow, shadow_out = map(set, r[:4])
    assert target | target_out == set(range(n))
    assert not target & target_out
    assert shadow < target
    assert shadow_out < target_out
    assert set(r.shadow_scale) == target
    tests = -(-n // 5)  # as sklearn's train_test_split rounds
    assert list(map(len, r)) == [n - tests, tests, int(0.8 * (n - tests)), int(0.2 * tests), n - tests]
    assert set(attack.as_released(n, np.random.default_rng(seed + 1)).target) != target


@pytest.mark.parametrize("n", [149, 150, 1797])
def test_disjoint_sets_have_no_common_row(n):
    r = attack.disjoint(n, np.random.default_rng(3))
    sets = list(map(set, r[:4]))
    assert sum(map(len, sets)) == len(set.union(*sets)) == n
    halves = [len(r.target) + len(r.target_out), len(r.shadow) + len(r.shadow_out)]
    assert halves == [-(-n // 2), n // 2]
    assert [len(r.target_out), len(r.shadow_out)] == [-(-half // 5) for half in halves]
    assert set(r.shadow_scale) == set(r.shadow)  # nothing of the target's


@pytest.mark.parametrize("name", attack.REPLACED)
def test_each_replacement_changes_its_part_alone(fake, name):
    seen = fake(unrelated)
    replaced = attack.REPLACED[name]
    s = attack.Settings({"ann": 3e-3, "membrane_last": 1e-2, "leaky_integrator": 2e-2}, shadows=12)
    rows = {family: attack.block(TABLE, family, replaced, [0, 3], s) for family in attack.FAMILIES}
    ann, snn = seen
    of_readout = 2e-2 if "readout" in replaced else 1e-2
    assert [ann["lr"], snn["lr"]] == ([3e-3, of_readout] if "rates" in replaced else [1e-4, 1e-3])
    assert snn["readout"] == ("leaky_integrator" if "readout" in replaced else "membrane_last")
    confidence_alone = replaced & {"readout", "attack"}
    for one in seen:
        assert one["names"] == ("phi" if confidence_alone else "logits", "correct")
        assert len(set(one["ids"])) == len(one["ids"]) == len(one["keep"])
        for what in ("keep", "scale", "ids"):
            np.testing.assert_array_equal(one[what], ann[what])  # both families: the same splits and random numbers
    keep, n = ann["keep"], len(TABLE.x)
    if "attack" in replaced:
        assert keep.shape == (24, n)
        assert (keep[::2] == ~keep[1::2]).all()
        assert (keep.sum(1) == n // 2).all()
        np.testing.assert_array_equal(ann["scale"], keep)
        assert not (keep[:12] == keep[12:]).all(1).any()
    else:
        assert keep.shape == (4, n)
        assert not (keep[:2] == keep[2:]).all(1).any()
        for k in (0, 2):
            assert (keep[k] & keep[k + 1]).sum() == (0 if "overlap" in replaced else keep[k + 1].sum())
            np.testing.assert_array_equal(ann["scale"][k + 1], keep[k + 1] if "overlap" in replaced else keep[k])
    for family, found in rows.items():
        assert [row["seed"] for row in found] == [0, 3]
        for row in found:
            equal = row["members"] == row["non_members"]
            assert equal == (family == "ann" or bool(replaced & {"balance", "attack"}))


def test_the_whole_output_or_the_confidence_alone_is_the_feature(fake, monkeypatch):
    fake(unrelated)
    shapes = []
    monkeypatch.setattr(attack, "svc_auc", lambda shadow, target, *_: shapes.append(target[0].shape) or (0.5, 1, 1))
    d = rows_of(classes=5)
    for name in ("none", "readout"):
        attack.block(d, "snn", attack.REPLACED[name], [0], SMALL)
    assert shapes == [(160, 5), (160, 1)]


@pytest.mark.parametrize("balance", [False, True])
def test_the_attack_is_one_support_vector_machine_for_each_class(balance):
    rng = np.random.default_rng(1)
    shadow, target = (
        attack.Outputs(rng.normal(size=(n, 3)) * [1, 5, 1] + 3 * member[:, None], np.arange(n) % 3, member)
        for n in (90, 120)
        for member in [np.arange(n) < 0.8 * n]
    )
    auc, members, others = attack.svc_auc(shadow, target, balance, np.random.default_rng(7))
    draw, aucs, ranked = np.random.default_rng(7), [], []
    for label in range(3):
        x, y = [], []
        for side in (shadow, target):
            inside, outside = (
                np.flatnonzero((side.labels_r == label) & (side.member_r == who)) for who in (True, False)
            )
            if balance:  # the smaller side keeps all of it
                inside, outside = draw.permutation(inside)[: len(outside)], draw.permutation(outside)
            rows = sorted([*inside, *outside])
            x.append(side.features_rf[rows])
            y.append(side.member_r[rows])
        aucs.append(roc_auc_score(y[1], SVC().fit(x[0], y[0]).decision_function(x[1])))
        ranked.append((sum(y[1]), sum(~y[1])))
    np.testing.assert_allclose(auc, np.mean(aucs))
    assert (members, others) == tuple(np.sum(ranked, 0))
    assert (members == others) == balance
    assert auc > 0.6


def test_a_class_without_both_sides_is_left_out():
    rng = np.random.default_rng(2)
    labels, member = np.arange(80) % 2, np.arange(80) < 50
    shadow = attack.Outputs(rng.normal(size=(80, 2)), labels, member)
    one_sided = shadow._replace(member_r=member | (labels == 1))
    auc, members, others = attack.svc_auc(one_sided, shadow, False, rng)
    kept = labels == 0
    machine = SVC().fit(shadow.features_rf[kept], member[kept])
    np.testing.assert_allclose(auc, roc_auc_score(member[kept], machine.decision_function(shadow.features_rf[kept])))
    assert (members, others) == (25, 15)
    for balance in (False, True):
        with pytest.raises(ValueError, match="no class has members and non-members"):
            attack.svc_auc(shadow._replace(member_r=np.ones(80, bool)), shadow, balance, rng)


@pytest.mark.parametrize("name", some("none", "all"))
def test_outputs_without_membership_have_an_auc_of_a_half(fake, name):
    fake(unrelated)
    for family in attack.FAMILIES:
        assert within(columns(attack.block(TABLE, family, attack.REPLACED[name], range(24), SMALL)))


@pytest.mark.parametrize("name", some("none", "attack"))
def test_members_that_are_known_by_heart_are_found(fake, name):
    """LiRA needs fewer of them than a support vector machine, whose ranking by one feature need not be monotonic."""
    fake(by_heart)
    d = TABLE if "attack" in attack.REPLACED[name] else rows_of(1500)
    for family in attack.FAMILIES:
        rows = attack.block(d, family, attack.REPLACED[name], range(4), SMALL)
        assert columns(rows).mean() > (0.8 if d is TABLE else 0.65)
        assert columns(rows, "train_accuracy").mean() > 0.95
        assert columns(rows, "test_accuracy").mean() < 0.6


def test_overlap_alone_is_taken_for_leakage(fake):
    """A model that learned nothing answers for a row as its shadow does, which the attack has seen beside its label."""
    fake(of_the_row)

    def auc(name, d):
        return columns(attack.block(d, "snn", attack.REPLACED[name], range(12), SMALL))

    d = rows_of(400, classes=4)
    assert auc("none", d).mean() > 0.57
    assert auc("balance", d).mean() > 0.57
    assert within(auc("overlap", d))
    assert (auc("attack", TABLE) == 0.5).all()


def test_a_diverged_target_is_an_error_and_a_diverged_shadow_is_left_out(fake):
    fake(lambda d, keep_sn, ids_s: np.where((ids_s == 1000)[:, None, None], np.nan, by_heart(d, keep_sn, ids_s)))
    with pytest.raises(ValueError, match=r"seed 1: the snn diverged.*--rates"):
        attack.block(TABLE, "snn", attack.REPLACED["none"], [0, 1], SMALL)
    lame, whole = attack.block(TABLE, "snn", attack.REPLACED["attack"], [1, 2], SMALL)
    assert lame["auc"] > 0.8
    assert whole["auc"] > 0.8


HEART = rows_of(240)
LEARNED = attack.Settings({"ann": 2e-2, "snn": 2e-2}, {"ann": 2e-2, "snn": 2e-2}, hidden=64, epochs=100, shadows=8)


@pytest.mark.long
@pytest.mark.parametrize("family", ["ann", pytest.param("snn", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "name", ["none", *(pytest.param(n, marks=pytest.mark.long) for n in attack.REPLACED if n != "none")]
)
def test_trained_by_heart_is_found_and_untrained_is_not(family, name):
    replaced = attack.REPLACED[name]
    rows = attack.block(HEART, family, replaced, range(8), LEARNED)
    assert columns(rows, "train_accuracy").min() > 0.9
    assert columns(rows).mean() > 0.6
    untrained = LEARNED._replace(rates=UNTRAINED, released=UNTRAINED)
    null = []
    for first in (0, 8):  # one program
        null += attack.block(HEART, family, replaced, range(first, first + 8), untrained)
    assert within(columns(null))
    assert within(columns(null, "train_accuracy"), errors=4)


@pytest.mark.long
def test_inputs_are_standardised_by_the_rows_that_are_named(monkeypatch):
    """As many models, rows and epochs as in the test above, whose programs serve here; a small rate, so that rounding
    does not grow."""
    rng = np.random.default_rng(0)
    keep_sn, scale_sn = rng.random((2, 16, len(HEART.x))) < 0.7
    keep_sn[0] = np.arange(len(HEART.x)) < 192  # four fifths, as many as a target has
    norm = attack.moments(HEART.x, scale_sn)
    oracle = [StandardScaler().fit(np.float64(HEART.x[rows])) for rows in scale_sn]
    np.testing.assert_allclose(norm.mean, [one.mean_ for one in oracle], rtol=1e-5)
    np.testing.assert_allclose(norm.std, [one.scale_ for one in oracle], rtol=1e-5)
    assert (attack.moments(np.ones((9, 2), np.float32), np.ones((1, 9), bool)).std == 1).all()
    how = {"family": "ann", "lr": 1e-3, "readout": "membrane_last", "names": ("logits", "correct")}

    def logits(d, *rows):
        return attack.answers(d, *rows, np.arange(16), LEARNED, **how)["logits"]

    got, own = logits(HEART, keep_sn, scale_sn), logits(HEART, keep_sn, keep_sn)
    monkeypatch.setattr(attack, "moments", lambda x, rows_sn: Norm(*np.float32([x[:16] * 0, x[:16] * 0 + 1])))
    for i, one in enumerate(oracle[:2]):
        ready = data.make_dataset(one.transform(np.float64(HEART.x)), HEART.y, HEART.class_names, "test")
        np.testing.assert_allclose(got[i], logits(ready, keep_sn, scale_sn)[i], rtol=1e-3, atol=1e-4)
        assert np.abs(got[i] - own[i]).max() > 1e-2


@pytest.mark.long
@pytest.mark.parametrize("name", ["none", "overlap", "all"])
def test_a_seed_gives_the_same_numbers_beside_others(name):
    d = as_released.table("wine")
    for family in attack.FAMILIES:
        together = attack.block(d, family, attack.REPLACED[name], range(3), SMALL)
        assert attack.block(d, family, attack.REPLACED[name], [1], SMALL) == [together[1]]


@pytest.mark.long
def test_the_attack_by_lira_is_that_of_the_pipeline():
    """The same halves as `splits.make`, and a network that learns real data leaks through them."""
    d = as_released.table("digits")
    row = attack.block(d, "ann", attack.REPLACED["attack"], [2], SMALL._replace(released={"ann": 1e-2}, hidden=64))[0]
    keep = splits.make(jax.random.key(2), d.y, 8)
    assert (row["members"], row["non_members"]) == (keep[0].sum(), (~keep[0]).sum())
    assert row["auc"] > 0.55
    assert row["train_accuracy"] > row["test_accuracy"] > 0.85
