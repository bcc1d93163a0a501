"""Total variation and the mean filter of images, by slow loops in float64."""

import numpy as np


def tv_by_loops(x_d, image):
    h, w, channels = image
    x = x_d.astype(np.float64).reshape(image)
    down = [abs(x[i, j, c] - x[i + 1, j, c]) for i in range(h - 1) for j in range(w) for c in range(channels)]
    beside = [abs(x[i, j, c] - x[i, j + 1, c]) for i in range(h) for j in range(w - 1) for c in range(channels)]
    return sum(sum(part) / len(part) for part in (down, beside) if part)


def mean_filter_by_loops(x_d, image):
    h, w, _ = image
    x, out = x_d.astype(np.float64).reshape(image), np.zeros(image)
    for i, j, c in np.ndindex(image):
        near = [x[min(max(i + di, 0), h - 1), min(max(j + dj, 0), w - 1), c] for di in (-1, 0, 1) for dj in (-1, 0, 1)]
        out[i, j, c] = np.mean(near)
    return out.reshape(-1)
