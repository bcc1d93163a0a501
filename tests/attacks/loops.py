"""Slow float64 loops over targets and examples: the definitions that the vectorised attacks must equal."""

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

ALIKE = 2e6  # degrees of freedom


def log_normal(x, mu, sigma):
    return -0.5 * ((x - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)


def sides(values_s, keep_s, target, partner):
    """(IN values, OUT values) of one example without the target and its partner."""
    rest = [s for s in range(len(keep_s)) if s not in (target, partner)]
    return ([values_s[s] for s in rest if keep_s[s]], [values_s[s] for s in rest if not keep_s[s]])


def lira(phi_sna, keep_sn, mode, pooled, floor=0.01):
    """[S, N] with partners s ^ 1."""
    phi_sna = np.asarray(phi_sna, np.float64)
    S, N, A = phi_sna.shape
    scores = np.zeros((S, N))
    for s in range(S):
        for a in range(A):
            inside, outside = zip(*[sides(phi_sna[:, n, a], keep_sn[:, n], s, s ^ 1) for n in range(N)], strict=True)
            mu_in, mu_out = np.array([np.mean(v) for v in inside]), np.array([np.mean(v) for v in outside])
            variances = []
            for values in (inside, outside):
                squares = sum(np.sum((np.array(v) - np.mean(v)) ** 2) for v in values)
                common = np.sqrt(squares / sum(len(v) - 1 for v in values))
                own = np.full(N, common) if pooled else np.array([np.std(v) for v in values])
                variances.append(np.maximum(own, floor * common))
            x = phi_sna[s, :, a]
            if mode == "online":
                scores[s] += log_normal(x, mu_in, variances[0]) - log_normal(x, mu_out, variances[1])
            else:
                scores[s] += (x - mu_out) / variances[1]
    return scores / A


def every_target(values_sna, setting, targets_kna=None):
    """For each target, in order: its values [N, A], and for each example the values [M, A] of its IN models and of its
    OUT models. None for a target that is not usable."""
    values_sna = np.asarray(values_sna, np.float64)
    targets = values_sna if targets_kna is None else np.asarray(targets_kna, np.float64)
    for t, x_na in enumerate(targets):
        if targets_kna is None and not setting.usable[t]:
            yield None
            continue
        inside, outside = [], []
        for n in range(values_sna.shape[1]):
            left_out = () if targets_kna is not None else (t, setting.partner_sn[t, n])
            rest = [s for s in np.flatnonzero(setting.usable) if s not in left_out]
            inside.append(np.array([values_sna[s, n] for s in rest if setting.keep[s, n]]))
            outside.append(np.array([values_sna[s, n] for s in rest if not setting.keep[s, n]]))
        yield x_na, inside, outside


def each(of, values_sna, setting, targets_kna=None):
    """[T, N] of of(values [N, A], IN values, OUT values) -> [N]; NaN for targets that are not usable."""
    N = setting.keep.shape[1]
    rows = every_target(values_sna, setting, targets_kna)
    return np.array([np.full(N, np.nan) if row is None else of(*row) for row in rows])


def mean_over_queries(of):
    """of(values [N], IN values of each example [M], OUT values) for one query after the other."""

    def over(x_na, inside, outside):
        queries = range(x_na.shape[1])
        return np.mean([of(x_na[:, a], [v[:, a] for v in inside], [v[:, a] for v in outside]) for a in queries], axis=0)

    return over


def squares_of(values):
    """(sums of squares about each example's mean, degrees of freedom), each [N]."""
    return np.array([np.sum((v - np.mean(v)) ** 2) for v in values]), np.array([len(v) - 1 for v in values])


def likelihood_ratio(x, inside, outside, mode, variances, middle=np.mean):
    """LiRA [N] with variances (IN, OUT), each a number or [N]."""
    mu_in, mu_out = (np.array([middle(v) for v in values]) for values in (inside, outside))
    if mode == "offline":
        return (x - mu_out) / np.sqrt(variances[1])
    return scipy.stats.norm.logpdf(x, mu_in, np.sqrt(variances[0])) - scipy.stats.norm.logpdf(
        x, mu_out, np.sqrt(variances[1])
    )


def lira_fixed(mode):
    """One variance about one mean for all examples of a side."""

    def of(x, inside, outside):
        return likelihood_ratio(x, inside, outside, mode, [np.var(np.concatenate(v)) for v in (inside, outside)])

    return mean_over_queries(of)


def lira_median(mode):
    """Medians, and 1.4826 x the median absolute deviation from them."""

    def deviation(v):
        return 1.4826 * np.median(np.abs(v - np.median(v)))

    def of(x, inside, outside):
        variances = [np.array([deviation(v) ** 2 for v in values]) for values in (inside, outside)]
        return likelihood_ratio(x, inside, outside, mode, variances, np.median)

    return mean_over_queries(of)


def prior_freedom(excess):
    """d with psi'(d / 2) = excess; ALIKE where log variances vary no more than by chance."""
    if excess <= 1e-6:
        return ALIKE
    log_half = scipy.optimize.brentq(
        lambda h: np.log(scipy.special.polygamma(1, np.exp(h))) - np.log(excess), -20, 20, xtol=1e-14, rtol=1e-14
    )
    return 2 * np.exp(log_half)


def drawn_to(prior, target, squares, freedom):
    """A variance from `freedom` degrees of freedom and `prior` ones of `target`."""
    return (prior * target + squares) / (prior + freedom)


def shrunk_variances(inside, outside, mode, step=1, strengths=None):
    """(IN, OUT) [N]: an example's spread drawn to 1 (in units of the pooled variances), each side's drawn to that. The
    strengths are read off every `step`-th example, and appended to `strengths`."""
    squares, freedoms, pools = [], [], []
    for values in (inside, outside) if mode == "online" else (outside,):
        square, freedom = squares_of(values)
        pools.append(square.sum() / freedom.sum())
        squares.append(square / pools[-1])
        freedoms.append(freedom)

    def chance(freedom):
        return scipy.special.polygamma(1, freedom[::step] / 2).mean()

    together, freedom = sum(squares), sum(freedoms)
    excess = np.var(np.log(together / freedom)[::step]) - chance(freedom)
    shared, own = prior_freedom(excess), 1e6
    if mode == "online":
        ratio = np.log(squares[0] / freedoms[0]) - np.log(squares[1] / freedoms[1])
        own = prior_freedom((np.var(ratio[::step]) - sum(map(chance, freedoms))) / 2)
    if strengths is not None:
        strengths.append((shared, own))
    spread = drawn_to(shared, np.ones(len(inside)), together, freedom)
    variances = [p * drawn_to(own, spread, x, d) for p, x, d in zip(pools, squares, freedoms, strict=True)]
    return variances if mode == "online" else [None, *variances]


def lira_shrinkage(mode, step=1, strengths=None):
    def of(x, inside, outside):
        return likelihood_ratio(x, inside, outside, mode, shrunk_variances(inside, outside, mode, step, strengths))

    return mean_over_queries(of)


def multivariate(mode, shrink):
    """Gaussians over queries with one covariance for all examples of a side."""

    def covariance(values):
        residuals = np.concatenate([v - v.mean(0) for v in values])
        c = np.cov(residuals.T, bias=True).reshape(2 * residuals.shape[1:]) * len(residuals)
        c /= sum(len(v) - 1 for v in values)
        return (1 - shrink) * c + shrink * np.diag(np.diag(c)) + 1e-4 * np.trace(c) / len(c) * np.eye(len(c))

    def of(x_na, inside, outside):
        c_in, c_out = covariance(inside), covariance(outside)
        if mode == "offline":
            along = np.linalg.solve(c_out, np.ones(len(c_out)))
            distances = [along @ (x - v.mean(0)) for x, v in zip(x_na, outside, strict=True)]
            return np.array(distances) / np.sqrt(along.sum())
        normal = scipy.stats.multivariate_normal.logpdf
        return np.array(
            [
                normal(x, i.mean(0), c_in) - normal(x, o.mean(0), c_out)
                for x, i, o in zip(x_na, inside, outside, strict=True)
            ]
        )

    return of


def lira2021(mode, variance):
    """The reference evaluator: medians, and as many models of every example as the one with the fewest has."""

    def of(x_na, inside, outside):
        inside, outside = ([v[: min(map(len, values))] for v in values] for values in (inside, outside))
        mu_in, mu_out = (np.array([np.median(v, axis=0) for v in values]) for values in (inside, outside))
        if variance == "fixed":
            s_in = np.std(np.array(inside))
            s_out = s_in if mode == "online" else np.std(np.array(outside))
        else:
            s_in, s_out = (np.array([np.std(v, axis=0) for v in values]) for values in (inside, outside))
        log_out = scipy.stats.norm.logpdf(x_na, mu_out, s_out + 1e-30)
        if mode == "offline":
            return -log_out.mean(1)
        return (scipy.stats.norm.logpdf(x_na, mu_in, s_in + 1e-30) - log_out).mean(1)

    return of


def cross_entropy(phi):
    return np.log1p(np.exp(-phi))


@mean_over_queries
def watson(x, inside, outside):
    return np.array([np.mean(cross_entropy(v)) - cross_entropy(own) for own, v in zip(x, outside, strict=True)])


@mean_over_queries
def sablayrolles(x, inside, outside):
    both = zip(x, inside, outside, strict=True)
    return np.array(
        [(np.mean(cross_entropy(i)) + np.mean(cross_entropy(o))) / 2 - cross_entropy(own) for own, i, o in both]
    )


@mean_over_queries
def attack_r(x, inside, outside):
    return np.array([np.mean([0.5 * (o == own) + (o < own) for o in v]) for own, v in zip(x, outside, strict=True)])


def auc(scores_n, member_n):
    """The Mann-Whitney statistic over all pairs, ties one half."""
    inside, outside = np.asarray(scores_n)[member_n], np.asarray(scores_n)[~member_n]
    wins = (inside[:, None] > outside[None]).sum() + 0.5 * (inside[:, None] == outside[None]).sum()
    return wins / (len(inside) * len(outside))
