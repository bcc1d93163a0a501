"""DP-SGD: the accountant against closed forms, slow sums and integrals; the random batches; planted audits."""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import logsumexp
from scipy.stats import norm

from jaxsnn_mia import config
from jaxsnn_mia.config.specs import training_inputs
from jaxsnn_mia.config.sweep import variants
from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.pipeline.trained import load_inputs
from jaxsnn_mia.privacy import accounting, lower_bounds
from jaxsnn_mia.report import tables
from jaxsnn_mia.report.rows import Audit, privacy_rows
from jaxsnn_mia.settings import Metrics
from jaxsnn_mia.training.ensemble import Shadows, make_ensemble
from jaxsnn_mia.training.epochs import sampled
from jaxsnn_mia.training.step import TrainSpec
from tests.runs import small

DELTA = 1e-5


def gaussian_delta(eps, noise):
    """Of the Gaussian mechanism, sensitivity 1. Balle and Wang 2018 (arXiv 1805.06530), theorem 8."""
    return norm.cdf(0.5 / noise - eps * noise) - math.exp(eps) * norm.cdf(-0.5 / noise - eps * noise)


def sampled_delta(eps, noise, rate, remove):
    """Of one sum of rows chosen with `rate`, noise N(0, s^2): the larger of P - e^eps Q over all sets, where one side
    is a mixture of N(1, s^2) with share `rate`. The loss grows with x, so that the set is a half line."""
    if remove:
        level = math.exp(eps)
        x = noise**2 * math.log((level - 1 + rate) / rate) + 0.5 if level > 1 - rate else -math.inf
        inside, outside = norm.sf(x, 1, noise), norm.sf(x, 0, noise)
        return rate * inside + (1 - rate) * outside - level * outside
    if math.exp(-eps) <= 1 - rate:
        return 0.0
    x = noise**2 * math.log((math.exp(-eps) - 1 + rate) / rate) + 0.5
    inside, outside = norm.cdf(x, 1, noise), norm.cdf(x, 0, noise)
    return outside - math.exp(eps) * (rate * inside + (1 - rate) * outside)


def two_steps_delta(eps, noise, rate, remove):
    """Of two such sums, by a midpoint sum over both outcomes."""
    x, width = np.linspace(-9 * noise, 1 + 9 * noise, 6001, retstep=True)
    outside, inside = norm.logpdf(x, 0, noise), norm.logpdf(x, 1, noise)
    mixed = np.logaddexp(math.log(rate) + inside, math.log1p(-rate) + outside)
    p, q = (mixed, outside) if remove else (outside, mixed)
    loss = p - q
    gain = -np.expm1(np.minimum(eps - loss[:, None] - loss[None, :], 0.0))
    return float(np.exp(p) @ gain @ np.exp(p)) * width**2


@pytest.mark.parametrize("noise", [0.7, 1.0, 3.0])
def test_one_step_of_all_rows_is_the_gaussian_mechanism(noise):
    exact = optimize.brentq(lambda eps: gaussian_delta(eps, noise) - DELTA, 0, 50, xtol=1e-12)
    assert exact - 1e-9 <= accounting.epsilon(noise, 1.0, 1, DELTA) <= exact + 1e-3


def test_steps_of_all_rows_are_one_with_less_noise():
    many, one = accounting.epsilon(6.0, 1.0, 36, DELTA), accounting.epsilon(1.0, 1.0, 1, DELTA)
    assert many == pytest.approx(one, abs=2e-3)


@pytest.mark.parametrize(("noise", "rate"), [(0.6, 0.1), (1.0, 0.3), (2.0, 0.5)])
@pytest.mark.parametrize(("steps", "delta_of"), [(1, sampled_delta), (2, two_steps_delta)])
def test_sampled_steps_agree_with_closed_forms_and_integrals(noise, rate, steps, delta_of):
    eps = accounting.epsilon(noise, rate, steps, DELTA)
    worst = max(delta_of(eps, noise, rate, remove) for remove in (True, False))
    assert worst <= DELTA * (1 + 1e-6)  # never too small
    assert max(delta_of(eps - 3e-3, noise, rate, remove) for remove in (True, False)) > DELTA


def renyi_bounds(noise, rate, steps, delta):
    """Epsilons by Renyi divergences of whole orders (Mironov et al. 2019, arXiv 1908.10530, eq. 30), turned
    into (epsilon, delta) by Mironov 2017 (arXiv 1702.07476), proposition 3."""
    for order in range(2, 65):
        k = np.arange(order + 1)
        log_choose = np.array([math.log(math.comb(order, i)) for i in k])
        terms = log_choose + (order - k) * math.log1p(-rate) + k * math.log(rate) + k * (k - 1) / (2 * noise**2)
        yield steps * logsumexp(terms) / (order - 1) + math.log(1 / delta) / (order - 1)


def test_the_known_number_of_mnist():
    """60 epochs of 60000 rows in batches of 256: 3.0 for noise 1.1 and 2.92 for 1.12 are what tutorials of TensorFlow
    Privacy give, by Renyi divergences."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.rdp import RdpAccountant

    rate, steps = 256 / 60000, 60 * 60000 // 256
    assert min(renyi_bounds(1.1, rate, steps, DELTA)) == pytest.approx(3.0, abs=0.02)
    assert min(renyi_bounds(1.12, rate, steps, DELTA)) == pytest.approx(2.92, abs=0.005)
    event = SelfComposedDpEvent(PoissonSampledDpEvent(rate, GaussianDpEvent(1.1)), steps)
    renyi = RdpAccountant().compose(event).get_epsilon(DELTA)
    ours = accounting.epsilon(1.1, rate, steps, DELTA)
    assert 2.3 < ours < renyi < 2.7
    assert ours == pytest.approx(2.38, abs=0.01)


def test_coarse_steps_of_large_epsilons_are_bounds_too():
    exact = optimize.brentq(lambda eps: math.log(gaussian_delta(eps, 0.1) / DELTA), 50, 150, xtol=1e-9)
    assert exact <= accounting.epsilon(1.0, 1.0, 100, DELTA) <= 1.001 * exact
    assert accounting.epsilon(0.05, 0.5, 1000, DELTA) < 1e6
    assert accounting.epsilon(0.0, 0.1, 10, DELTA) == math.inf


@pytest.mark.parametrize(("target", "rate", "steps"), [(0.3, 0.05, 200), (2.0, 0.1, 800), (8.0, 1.0, 5)])
def test_the_noise_of_a_target_inverts_epsilon(target, rate, steps):
    noise = accounting.noise_for(target, rate, steps, DELTA)
    assert accounting.epsilon(float(np.float32(noise)), rate, steps, DELTA) <= target
    assert accounting.epsilon(noise * (1 - 2e-4), rate, steps, DELTA) > target


def test_a_target_that_no_noise_reaches_is_refused():
    with pytest.raises(ValueError, match=r"`train\.dp_epsilon` must be larger, got 1e-09"):
        accounting.noise_for(1e-9, 0.1, 1000, DELTA)


def slow_tail(limit, rate, rows):
    return math.fsum(math.comb(rows, k) * rate**k * (1 - rate) ** (rows - k) for k in range(limit + 1, rows + 1))


@pytest.mark.parametrize(
    ("rate", "rows", "steps", "most"), [(0.1, 200, 50, 1e-14), (0.5, 31, 7, 1e-3), (0.9, 40, 9, 0.01)]
)
def test_capacity_is_the_least_that_rarely_overflows(rate, rows, steps, most):
    room = accounting.capacity(rate, rows, steps, most)
    assert steps * slow_tail(room, rate, rows) <= most < steps * slow_tail(room - 1, rate, rows)
    assert accounting.overflow(room, rate, rows, steps) == pytest.approx(steps * slow_tail(room, rate, rows), rel=1e-9)


def test_capacity_never_passes_the_rows():
    assert accounting.capacity(1.0, 40, 10, 1e-14) == 40
    assert accounting.overflow(40, 1.0, 40, 10) == 0
    assert accounting.overflow(39, 1.0, 40, 10) == 1


def test_overflow_is_paid_for_on_both_neighbours():
    args = (1.0, 0.1, 50, DELTA)
    free = accounting.epsilon(*args)
    assert accounting.epsilon(*args, beta=1e-14) == accounting.epsilon(1.0, 0.1, 50, 0.99 * DELTA) > free
    dear = 0.01 * DELTA / (1 + math.exp(free + 0.01))  # what the spare part of delta is enough for
    assert accounting.epsilon(*args, beta=dear) < math.inf
    assert accounting.epsilon(*args, beta=dear * math.exp(0.02)) == math.inf


@pytest.mark.long
def test_a_plan_is_of_public_numbers_and_a_neighbour_more():
    p = accounting.plan(30, 101, 101, 4, 5, delta=1e-3, noise=1.3)
    assert p.steps == 20
    assert 30 / 101 <= p.rate < 30 / 101 + 2**-23
    assert float(np.float32(p.rate)) == p.rate
    assert p.capacity == accounting.capacity(p.rate, 102, 20, accounting.RARE * 1e-3)
    beta = accounting.overflow(p.capacity, p.rate, 102, 20)
    spent = accounting.epsilon(p.noise, p.rate, 20, 0.99e-3)
    assert p.epsilon == spent
    assert (1 + math.exp(spent)) * beta <= 1e-5
    for target in (2.0, accounting.LARGEST):
        assert 0.998 * target < accounting.plan(30, 101, 101, 4, 5, delta=1e-3, target=target).epsilon <= target
    assert accounting.plan(101, 101, 101, 1, 5, delta=1e-3, noise=9.0).capacity == 102
    with pytest.raises(ValueError, match=r"`train\.dp_delta` must be in \(0, 1 / 101\), .* got 0\.01"):
        accounting.plan(30, 101, 101, 4, 5, delta=0.01, noise=1.3)


# ---- the batches

R, RATE, CAPACITY, STEPS = 40, 0.2, 25, 5
OWN = np.random.default_rng(3).permutation(500)[:R].astype(np.int32)
MASK = (np.arange(R) < R - 3).astype(np.float32)
SAMPLED = TrainSpec(
    ModelSpec("ann", (3,), 2, hidden=()), optimizer="sgd", momentum=0.0, epochs=STEPS, batch_size=8, rows=R,
    private=True, rate=RATE, capacity=CAPACITY,
)  # fmt: skip


def epochs_of(spec, n, mask=MASK):
    """Batches [n, steps, B] of n epochs."""
    keys, rows = jax.random.split(jax.random.key(5), n), (jnp.asarray(OWN), jnp.asarray(mask))
    idx, mask = jax.jit(jax.vmap(lambda key: sampled(key, rows, spec)))(keys)
    return np.asarray(idx), np.asarray(mask)


def chosen(idx, mask):
    """bool [..., R]: which of the model's rows are in each batch."""
    return ((idx[..., None] == OWN) & (mask[..., None] > 0)).any(-2)


def test_each_row_is_in_each_step_with_the_rate_and_alone():
    idx, mask = epochs_of(SAMPLED, 4000)
    assert idx.shape == mask.shape == (4000, STEPS, CAPACITY)
    assert np.isin(idx, OWN).all()  # padding is of the own rows too
    there = chosen(idx, mask)
    assert (there.sum(-1) == mask.sum(-1)).all()  # no row twice
    assert (np.diff(mask) <= 0).all()
    assert not there[..., MASK == 0].any()
    valid = there[..., MASK > 0].reshape(-1, R - 3)
    deviation = (RATE * (1 - RATE) / len(valid)) ** 0.5
    assert np.abs(valid.mean(0) - RATE).max() < 4.5 * deviation
    sizes = np.bincount(valid.sum(1), minlength=R)
    expected = stats.binom.pmf(np.arange(R), R - 3, RATE) * len(valid)
    common = expected > 20
    assert sizes.sum() == len(valid)
    assert stats.chisquare(sizes[common], expected[common] / expected[common].sum() * sizes[common].sum()).pvalue > 1e-3
    across = there[..., MASK > 0].astype(float) - RATE  # rows and steps, each with each
    together = np.corrcoef(across.reshape(4000, -1).T) - np.eye(STEPS * (R - 3))
    assert np.abs(together).max() < 5.5 / 4000**0.5


def test_a_fuller_batch_loses_its_last_rows_alone():
    whole = chosen(*epochs_of(dataclasses.replace(SAMPLED, capacity=R), 200))
    cut = chosen(*epochs_of(dataclasses.replace(SAMPLED, capacity=6), 200))
    assert (whole.sum(-1) > 6).mean() > 0.3
    np.testing.assert_array_equal(cut, whole & (whole.cumsum(-1) <= 6))


def test_a_rate_of_one_takes_every_row_and_room_must_be_known():
    everyone = chosen(*epochs_of(dataclasses.replace(SAMPLED, rate=1.0, capacity=R + 1), 20))
    np.testing.assert_array_equal(everyone, np.broadcast_to(MASK > 0, everyone.shape))
    with pytest.raises(ValueError, match="`capacity` must be set"):
        epochs_of(dataclasses.replace(SAMPLED, capacity=0), 2)


# ---- planted audits: a canary alone has the third feature, so that its clipped gradient alone moves some weights

X = np.zeros((9, 3), np.float32)
X[:8, :2] = np.random.default_rng(0).normal(size=(8, 2))
X[8, 2] = 5
Y = np.arange(9) % 2
CLIP, NOISE, LARGE = 0.02, 1.0, 0.01


def shadows_of(member_s, hyper, ids):
    mask = np.ones((len(member_s), 9), np.float32)
    mask[:, 8] = member_s
    columns = {**Hyper()._asdict(), "lr": 1.0, "dp_clip": CLIP, "dp_noise": NOISE, **hyper}
    full = Hyper(**{name: np.full(len(member_s), value, np.float32) for name, value in columns.items()})
    return Shadows(ids.astype(np.int32), full, (np.tile(np.arange(9, dtype=np.int32), (len(member_s), 1)), mask))


def trained(n, spec, *, width=500, devices=None, ids=None, **hyper):
    """(the movement of the canary's weights [n], whether it was a training row [n], parameters) of n trainings."""
    ids = np.arange(n) if ids is None else ids
    member_s = (np.random.default_rng(7).random(n) < 0.5)[ids]
    shadows = shadows_of(member_s, hyper, ids)
    engine = make_ensemble(spec, seed=11, width=width, devices=devices or jax.devices())
    first = engine.init(shadows, (X, Y))
    group = engine.run(first, shadows, (X, Y), 0, spec.epochs)
    moved = jax.tree.map(lambda b, a: np.asarray(b) - np.asarray(a), group.state.params, first.state.params)
    (kernel,) = [leaf for leaf in jax.tree.leaves(moved) if leaf.ndim == 3]
    return kernel[:, 2, Y[8]] - kernel[:, 2, 1 - Y[8]], member_s, moved


def canary_spec(rate, steps):
    return TrainSpec(
        ModelSpec("ann", (3,), 2, hidden=()), optimizer="sgd", momentum=0.0, epochs=steps, batch_size=9, rows=9,
        private=True, rate=rate, capacity=9,
    )  # fmt: skip


SPEC, MANY = canary_spec(0.25, 8), 20000


def bounds_of_trainings(scores, member, per, first):
    """A bound from each `per` trainings, at the threshold that is best on the `first` ones, which are left out."""

    def bound(rows, threshold):
        counts = lower_bounds.canary_counts(scores[rows], member[rows], threshold)
        return lower_bounds.epsilon_clopper_pearson(*counts, delta=LARGE, alpha=0.05)

    chosen = max(np.quantile(scores[:first], np.linspace(0.02, 0.98, 49)), key=functools.partial(bound, slice(first)))
    return np.array([bound(slice(i, i + per), chosen) for i in range(first, len(scores) - per + 1, per)])


@pytest.mark.long
def test_audits_of_honest_training_stay_below_and_of_broken_ones_do_not():
    accounted = accounting.epsilon(NOISE, SPEC.rate, SPEC.epochs, LARGE)
    bounds = lower_bounds(*trained(MANY, SPEC)[:2], per=500, first=4000)
    assert len(bounds) == 32
    assert (bounds > accounted).sum() <= stats.binom.ppf(0.999, 32, 0.05)
    assert np.mean(bounds) > 0.1  # it does find the canary
    for broken in (
        {"dp_noise": 0.0},
        {"dp_clip": 10 * CLIP, "dp_noise": NOISE / 10},  # as much noise, but gradients are not clipped
    ):
        bounds = lower_bounds(*trained(MANY, SPEC, **broken)[:2], per=500, first=4000)
        assert (bounds > accounted).mean() > 0.9


@pytest.mark.long
@pytest.mark.parametrize(("rate", "steps", "noise"), [(1.0, 4, 2.0), (0.25, 8, 1.0), (0.5, 16, 3.0)])
def test_larger_audits_come_close_and_stay_below(rate, steps, noise):
    """A million trainings: the bound is nearly what is accounted, so that neither is much too large; and halved noise,
    or a rate of one where less is accounted, is seen."""
    spec = canary_spec(rate, steps)
    accounted = accounting.epsilon(noise, rate, steps, LARGE)
    scores, member, _ = trained(1_000_000, spec, dp_noise=noise, width=2500)
    (bound,) = lower_bounds(scores, member, per=900_000, first=100_000)
    assert (0.85 if rate == 1 else 0.6) * accounted < bound <= accounted
    bounds = lower_bounds(scores, member, per=2000, first=100_000)
    assert (bounds > accounted).sum() <= stats.binom.ppf(0.999, len(bounds), 0.05)
    for broken, noisy in ((spec, noise / 2), (canary_spec(1.0, steps), noise if rate < 1 else noise / 2)):
        (bound,) = lower_bounds(*trained(300_000, broken, dp_noise=noisy, width=2500)[:2], per=200_000, first=100_000)
        assert bound > accounted


def test_a_private_model_is_the_same_alone_and_noise_is_each_ones_own():
    """Alone at width 1, another order of sums; the same rows and the same noise."""
    _, _, together = trained(MANY, SPEC)
    _, _, alone = trained(MANY, SPEC, width=1, devices=jax.devices()[:1], ids=np.array([3]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3], b[0], rtol=1e-4, atol=1e-6), together, alone)
    _, _, noise = trained(MANY, SPEC, dp_clip=1e-9, dp_noise=1e9)  # what moves is noise: 8 steps of deviation 1 / 9
    moved = np.concatenate([np.reshape(leaf, (MANY, -1)) for leaf in jax.tree.leaves(noise)], 1)
    assert moved.shape[1] == 8
    assert stats.kstest(moved.ravel() * 9 / 8**0.5, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(moved.T) - np.eye(8)).max() < 4.5 / MANY**0.5  # leaves and weights
    assert len(np.unique(moved[:, 0])) > 0.99 * MANY  # models


# ---- settings and the report


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"dp_noise": 1.0}}, r"`train\.dp_noise` must be 0 without train\.dp_clip"),
        ({"train": {"dp_epsilon": 1.0}}, r"`train\.dp_epsilon` must be 0 without train\.dp_clip"),
        ({"train": {"dp_clip": -1.0}}, r"`train\.dp_clip` must be finite and at least 0"),
        ({"train": {"dp_clip": 1.0, "dp_noise": 1.0, "dp_epsilon": 1.0}}, r"`train\.dp_noise` must be 0 where"),
        ({"train": {"dp_clip": 1.0}, "sweep": {"dp_noise": (1.0,), "dp_epsilon": (1.0,)}}, r"`train\.dp_noise` must"),
        ({"train": {"dp_clip": 1.0, "dp_epsilon": 33.0}}, r"`train\.dp_epsilon` must be at most 32, got 33"),
        ({"train": {"dp_clip": 1.0, "dp_delta": 1.0}}, r"`train\.dp_delta` must be in \(0, 1\)"),
        ({"train": {"dp_clip": 1.0}, "data": {"standardise": "per_shadow"}}, r"`data\.standardise` .* Use 'dataset'"),
        ({"train": {"dp_clip": 1.0}, "quantization": {"what": "activation", "bits": 8}}, r"`quantization\.what` must"),
        ({"train": {"dp_clip": 1.0}, "quantization": {"what": "all", "mode": "ptq"}}, r"`quantization\.what` must"),
        ({"train": {"dp_clip": 1.0, "mixup": 0.2}}, r"`train\.mixup` must be .* Use 0"),
        (
            {"train": {"dp_clip": 1.0}, "model": {"architecture": "resnet8", "norm": "tdbn"}},
            r"`model\.norm` must be .* Use 'group'",
        ),
        ({"train": {"dp_clip": 1.0, "stop_at_train_accuracy": 0.9}}, r"`train\.stop_at_train_accuracy` must be"),
        ({"train": {"dp_clip": 1.0, "stop_at_gap": 0.1}, "data": {"validation": 0.1}}, r"`train\.stop_at_gap` must"),
    ],
)
def test_what_touches_training_rows_unaccounted_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(values)


def works(n=120, **changes):
    """Each variant's work on n random candidates."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 5)).astype(np.float32), (np.arange(n) % 2).astype(np.int32)
    x[1] = x[0] if changes.pop("twins", False) else x[1]
    keep_sn = rng.random((8, n)) < 0.5
    c = config.from_dict({"model": {"family": "ann", "hidden": (4,)}, **changes})
    return keep_sn, {name: training_inputs(one, x, y, 2, keep_sn) for name, one in variants(c).items()}


@pytest.mark.long
def test_a_sweep_over_epsilon_is_one_program_with_the_noise_solved():
    keep_sn, made = works(train={"dp_clip": 0.5, "epochs": 10, "batch_size": 20}, sweep={"dp_epsilon": (1.0, 4.0)})
    one, four = made.values()
    assert repr(one.spec) == repr(four.spec)
    assert one.hyper.dp_noise > four.hyper.dp_noise > 0
    spec, rows = one.spec, int(keep_sn.sum(1).max())
    assert (spec.private, spec.batch_size, spec.rows, spec.ragged) == (True, 20, rows, False)
    assert spec.rate == math.ceil(20 / 60 * 2**23) / 2**23  # of half of the candidates, whatever a model has
    steps = spec.epochs * spec.steps_per_epoch
    assert spec.capacity == accounting.capacity(spec.rate, rows + 1, steps, accounting.RARE * 1e-5)
    for target, member in ((1.0, one), (4.0, four)):
        spent = accounting.epsilon(member.hyper.dp_noise, spec.rate, steps, 0.99e-5)
        assert 0.99 * target < spent <= target
    (plain,) = works()[1].values()
    assert not plain.spec.private
    assert plain.hyper.dp_noise == 0


def test_duplicates_and_a_large_delta_are_refused_where_the_rows_are_known():
    with pytest.raises(ValueError, match=r"`data\.duplicates` must be 'drop' with train\.dp_clip"):
        works(train={"dp_clip": 1.0, "dp_noise": 1.0}, twins=True)
    works(twins=True)
    with pytest.raises(ValueError, match=r"`train\.dp_delta` must be in \(0, 1 / 60\)"):
        works(train={"dp_clip": 1.0, "dp_noise": 1.0, "dp_delta": 0.02})


@pytest.mark.long
def test_a_private_audit_reports_what_it_spent(tmp_path):
    c = small(
        train={"dp_clip": 1.0, "dp_epsilon": 3.0, "snapshot_epochs": ()},
        splits={"rows": "iid"},
        attacks={"names": ("loss",)},
        data={"duplicates": "drop"},
    )
    run_pipeline(c, tmp_path)
    ((variant, summary),) = json.loads((tmp_path / "summary.json").read_text())["variants"].items()
    rows = {row["metric"]: row for row in summary["rows"] if row["attack"] == ""}
    made = load_inputs(variants(c)[variant], paths_of(tmp_path, variant))
    spent = rows["dp_epsilon"]
    assert 2.9 < spent["value"] <= 3
    assert (spent["adjacency"], spent["delta"]) == ("add or remove one row", 1e-5)
    assert (spent["rate"], spent["steps"]) == (made.spec.rate, made.spec.epochs * made.spec.steps_per_epoch)
    assert rows["dp_noise"]["value"] == made.hyper.dp_noise > 0
    assert rows["dp_delta"]["value"] == 1e-5
    csv = (tmp_path / "results.csv").read_text()
    for needle in (f",dp_epsilon,{spent['value']:.6g},", ",dp_delta,1e-05,", "epsilon_one_run@1e-05"):
        assert needle in csv
    page = (tmp_path / "report.html").read_text()
    assert f"({spent['value']:.4g}, 1e-05)-differentially private, add or remove one row (noise" in page


def test_without_noise_the_report_claims_nothing():
    privacy = accounting.plan(20, 60, 60, 3, 2, delta=1e-5)
    audit = Audit("a", {}, Metrics(), *[np.zeros(0)] * 6, {}, privacy=privacy)
    (line,) = tables.privacy_lines([{"variant": "a", **row} for row in privacy_rows(audit)])
    assert line.startswith("a: not differentially private by any finite epsilon at delta 1e-05 (noise 0,")
    assert privacy_rows(audit._replace(privacy=None)) == tables.privacy_lines([]) == []


def paths_of(workdir, variant):
    (data,) = workdir.glob("data-*")
    (splits,) = workdir.glob("splits-*")
    (train,) = (workdir / variant).glob("train-*")
    return {"data": data, "splits": splits, "train": train}
