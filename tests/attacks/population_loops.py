"""Slow loops over the population: the definitions of RMIA and of attack P."""

import numpy as np

from tests.attacks import loops


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
                inside, outside = loops.sides(p_x[:, n, q], keep_sn[:, n], s, s ^ 1)
                if mode == "online":
                    mean_x = (np.mean(inside) + np.mean(outside)) / 2
                else:
                    mean_x = ((1 + a) * np.mean(outside) + 1 - a) / 2
                r_x = p_x[s, n, q] / mean_x
                tie = 0.5 + 0.5 * np.log(r_x) / (1 + abs(np.log(r_x)))
                scores[s, n] += (np.sum(r_x / r_z >= gamma) + tie) / (Z + 1)
    return scores / A


def rmia_votes(logp_sna, logp_sza, setting, targets=None, *, mode, gamma, a_t, vote, own_z_n=None):
    """[T, N] by asking every z whether x beats it. `targets` are (log confidences of the examples, of the population)
    of targets that are no shadows; a_t [T]."""
    p_x, p_z = (np.exp(np.asarray(logp, np.float64)) for logp in (logp_sna, logp_sza))
    targets_x, targets_z = (None, p_z) if targets is None else (np.exp(np.asarray(x, np.float64)) for x in targets)
    N, Z, A = setting.keep.shape[1], *p_z.shape[1:]
    own_z_n = np.full(N, -1) if own_z_n is None else own_z_n
    scores = []
    for t, row in enumerate(loops.every_target(p_x, setting, targets_x)):
        if row is None:
            scores.append(np.full(N, np.nan))
            continue
        left_out = []
        if targets is None:
            left_out.append(t)
            if setting.partner_s is not None:
                left_out.append(setting.partner_s[t])
        rest = [s for s in np.flatnonzero(setting.usable) if s not in left_out]
        of_t = []
        for n, (own, inside, outside) in enumerate(zip(*row, strict=True)):
            out = outside.mean(0)
            r_x = own / ((inside.mean(0) + out) / 2 if mode == "online" else stretched(out, a_t[t]))
            beaten_zq, others = np.zeros((Z, A)), [z for z in range(Z) if z != own_z_n[n]]
            for z in others:
                mean_z = np.mean([p_z[s, z] for s in rest], axis=0)
                r_z = targets_z[t, z] / (mean_z if mode == "online" else stretched(mean_z, a_t[t]))
                beaten_zq[z] = r_x / r_z >= gamma
            if vote == "majority":
                of_t.append((np.sum(beaten_zq.sum(1) > A / 2) + tie(np.log(r_x).mean())) / (len(others) + 1))
            else:
                of_t.append(np.mean((beaten_zq.sum(0) + tie(np.log(r_x))) / (len(others) + 1)))
        scores.append(np.array(of_t))
    return np.array(scores)


def stretched(p, a):
    return ((1 + a) * p + 1 - a) / 2


def tie(log_r):
    return 0.5 + 0.5 * log_r / (1 + abs(log_r))


def attack_p(loss_n, loss_z):
    """[N]: the place of each loss among the population's, one after the other. Equal ones share the mean of their
    ranks, and between two the place grows with -log loss; an end of the scale is approached, never reached."""
    values = sorted(set(loss_z), reverse=True)  # from the least confident
    ranks = [np.mean([i + 1 for i, z in enumerate(sorted(loss_z, reverse=True)) if z == v]) for v in values]
    scale = [-np.log(v) for v in values]
    places = []
    for x in -np.log(loss_n):
        if x < scale[0]:
            place = ranks[0] / (1 + scale[0] - x)
        elif x > scale[-1]:
            place = len(loss_z) + (x - scale[-1]) / (1 + x - scale[-1])
        elif x == scale[-1]:
            place = ranks[-1]
        else:
            k = max(i for i, v in enumerate(scale) if v <= x)
            place = ranks[k] + (ranks[k + 1] - ranks[k]) * (x - scale[k]) / (scale[k + 1] - scale[k])
        places.append(place / (len(loss_z) + 1))
    return np.array(places)
