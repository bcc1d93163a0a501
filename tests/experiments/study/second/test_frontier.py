"""Envelopes against slow loops, and effects of planted and of no difference."""

import numpy as np
import pytest

from experiments.study.second import frontier
from experiments.study.second.frontier import Condition, Effect

K, R, E = 4, 5, 9


def drawn(seed: int, shift: float = 0.0, noise: float = 0.01) -> Condition:
    """Accuracies and leaks that grow along training, the faster the larger the rate; `shift` is added to the leak."""
    rng = np.random.default_rng(seed)
    progress = 1 - np.exp(-np.linspace(0.2, 3, E) * np.linspace(0.5, 1.5, R)[:, None])
    accuracy = 0.5 + 0.45 * progress + noise * rng.normal(size=(K, R, E))
    leak = 0.5 + 0.2 * progress**2 + shift + noise * rng.normal(size=(K, R, E))
    return Condition(accuracy, accuracy + noise * rng.normal(size=(K, R, E)), leak)


def slow_envelope(condition: Condition, k: int, at: float) -> float:
    """By all pairs of points: a corner is beaten by none, and what lies between two corners is on their line."""
    points = []  # accuracy and leak of the others, leak of seed k
    for r in range(R):
        for e in range(E):
            accuracy, leak = (np.mean([v[j, r, e] for j in range(K) if j != k]) for v in condition[::2])
            points.append((accuracy, leak, condition.leak[k][r, e]))
    free = [p for p in points if not any(q[0] >= p[0] and q[1] <= p[1] and q != p for q in points)]
    above, below = [p for p in free if p[0] >= at], [p for p in free if p[0] < at]
    if not above:
        return float("nan")
    right = min(above)
    if not below:
        return right[2]
    left = max(below)
    return left[2] + (right[2] - left[2]) * (at - left[0]) / (right[0] - left[0])


def test_the_envelope_is_that_of_a_loop_chosen_on_other_seeds():
    condition, at_g = drawn(0), np.linspace(0.5, 1.0, 17)  # from below all points to above
    for k in range(K):
        expected = [slow_envelope(condition, k, at) for at in at_g]
        np.testing.assert_allclose(frontier.envelope(condition, k, at_g), expected, rtol=1e-12)


def test_a_seed_does_not_choose_its_own_point():
    """One seed leaks nothing at one point: its envelope does not move, those of the others do."""
    condition = drawn(1)
    leak = condition.leak.copy()
    leak[2, 4, 8] = -10.0
    changed, at = condition._replace(leak=leak), np.array([0.5])
    others = [k for k in range(K) if k != 2]
    assert all(frontier.envelope(changed, k, at) == leak[k, 4, 8] for k in others)
    assert frontier.envelope(changed, 2, at) == frontier.envelope(condition, 2, at)


def test_a_planted_difference_is_found_whatever_the_rates():
    baseline = drawn(2, noise=0.0)
    effect = frontier.compare(baseline, baseline._replace(leak=baseline.leak - 0.03), 0.6)
    assert effect.mean == pytest.approx(0.03, abs=1e-12)
    np.testing.assert_allclose(effect.at, 0.03, atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize(("every", "least_covered"), [(1, 0.93), pytest.param(2, 0.9, marks=pytest.mark.long)])
def test_without_a_difference_the_interval_covers_zero_and_choosing_costs_nothing(every, least_covered):
    """300 pairs of equal conditions; of the second with every rate or every second one."""
    effects = []
    for seed in range(300):
        baseline, condition = drawn(2 * seed), drawn(2 * seed + 1)
        fewer = Condition(*(values[:, ::every] for values in condition))
        effects.append(frontier.compare(baseline, fewer, 0.6))
    assert abs(np.mean([e.mean for e in effects])) < 0.001
    covered = [low < 0 < high for low, high in (e.interval(0.95) for e in effects)]
    assert np.mean(covered) >= least_covered


def test_the_rates_that_a_search_could_choose_widen_the_interval():
    baseline = drawn(5, noise=0.001)
    validation = np.broadcast_to(np.linspace(0.8, 0.9, E), (K, R, E)).copy()
    validation[:, :3] -= 0.1
    one = baseline._replace(validation=np.where(np.arange(R)[:, None] == 4, validation + 0.05, validation))
    assert frontier.near_best(one) == [4]
    assert frontier.near_best(baseline._replace(validation=validation)) == [3, 4]
    leak = baseline.leak.copy()
    leak[:, 3] -= 0.1  # one of two equally good rates leaks much less
    alone, both = one._replace(leak=leak), baseline._replace(leak=leak, validation=validation)
    assert frontier.compare(one, both, 0.6).error > 5 * frontier.compare(one, alone, 0.6).error


def test_the_error_is_of_seeds_and_of_a_jackknife_over_rates():
    baseline, condition, least = drawn(6), drawn(7), 0.6
    variance = frontier.differences(baseline, condition, least)[:, 0].var(ddof=1) / K
    for side, pair in enumerate(((baseline, condition), (baseline, condition))):
        rates, means = frontier.near_best(pair[side]), []
        for rate in rates if len(rates) > 1 else []:
            kept = [r for r in range(R) if r != rate]
            changed = list(pair)
            changed[side] = Condition(*(values[:, kept] for values in pair[side]))
            means.append(frontier.differences(*changed, least)[:, 0].mean())
        if means:
            variance += (len(means) - 1) / len(means) * sum((m - np.mean(means)) ** 2 for m in means)
    assert frontier.compare(baseline, condition, least).error == pytest.approx(variance**0.5, rel=1e-12)


def test_accuracies_that_one_side_does_not_reach_are_not_compared():
    baseline, weak = drawn(8, noise=0.0), drawn(8, noise=0.0)
    weak = weak._replace(accuracy=weak.accuracy - 0.2, leak=weak.leak - 0.01)
    assert frontier.compare(baseline, weak, 0.9) is None
    assert frontier.compare(baseline, weak, 0.6) is not None
    assert frontier.start(0.1, 0.0) == pytest.approx(0.2)
    assert frontier.start(0.5, 0.84) == 0.84


@pytest.mark.parametrize(
    ("auc", "tpr", "expected"),
    [
        ((0.05, 0.001), (0.3, 0.01), frontier.LOWER),
        ((-0.05, 0.001), (-0.3, 0.01), frontier.HIGHER),
        ((0.001, 0.001), (0.01, 0.01), frontier.EQUIVALENT),
        ((0.05, 0.001), (0.01, 0.01), frontier.OPEN),  # the two outcomes disagree
        ((0.05, 0.05), (0.3, 0.01), frontier.OPEN),  # too few seeds
        ((0.015, 0.001), (0.3, 0.01), frontier.OPEN),  # less than matters
    ],
)
def test_the_four_verdicts(auc, tpr, expected):
    assert frontier.verdict(Effect(*auc, 4), Effect(*tpr, 4), 0.95) == expected
