"""Slow float64 loops over targets and examples: the definitions that the vectorised attacks must equal."""

import numpy as np


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


def rmia(logp_sna, keep_sn, logp_sza, mode, gamma=2.0, a=0.3):
    """[S, N]: the pair matrix, no ECDF; ties within a step broken as in the paper's ranking by r(x)."""
    p_x, p_z = np.exp(np.asarray(logp_sna, np.float64)), np.exp(np.asarray(logp_sza, np.float64))
    S, N, A = p_x.shape
    Z = p_z.shape[1]
    scores = np.zeros((S, N))
    for s in range(S):
        rest = [t for t in range(S) if t not in (s, s ^ 1)]
        for q in range(A):
            mean_z = p_z[rest, :, q].mean(0)
            r_z = p_z[s, :, q] / (mean_z if mode == "online" else ((1 + a) * mean_z + 1 - a) / 2)
            for n in range(N):
                inside, outside = sides(p_x[:, n, q], keep_sn[:, n], s, s ^ 1)
                if mode == "online":
                    mean_x = (np.mean(inside) + np.mean(outside)) / 2
                else:
                    mean_x = ((1 + a) * np.mean(outside) + 1 - a) / 2
                r_x = p_x[s, n, q] / mean_x
                tie = 0.5 + 0.5 * np.log(r_x) / (1 + abs(np.log(r_x)))
                scores[s, n] += (np.sum(r_x / r_z >= gamma) + tie) / (Z + 1)
    return scores / A


def auc(scores_n, member_n):
    """The Mann-Whitney statistic over all pairs, ties one half."""
    inside, outside = np.asarray(scores_n)[member_n], np.asarray(scores_n)[~member_n]
    wins = (inside[:, None] > outside[None]).sum() + 0.5 * (inside[:, None] == outside[None]).sum()
    return wins / (len(inside) * len(outside))
