"""MAUVE of fixed histograms and distances between fixed points after PCA, in numpy.

    pip install numpy
    python make_mauve.py

Writes `mauve.json`. The formulas are those of Pillutla et al. (arXiv 2102.01454): 25 mixture weights from 1e-6 to
1 - 1e-6, scale 5, the mean of the areas along both axes; `mauve_star` adds 1/2 to each count (arXiv 2212.14578).
"""

import json
from pathlib import Path

import numpy as np


def divergences(p, mixtures):
    """From p to each row of mixtures, in nats; 0 log 0 is 0."""
    seen = p > 0
    return (p * np.log(np.where(seen, p, 1) / np.where(seen, mixtures, 1))).sum(1)


def area(x, y):
    order = np.argsort(x, kind="stable")
    return np.trapezoid(y[order], x[order])


def mauve(p, q):
    weights = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixtures = weights * p + (1 - weights) * q
    x = np.concatenate([[1], np.exp(-5 * divergences(q, mixtures)), [0]])
    y = np.concatenate([[0], np.exp(-5 * divergences(p, mixtures)), [1]])
    return float(area(x, y) + area(y, x)) / 2


def histogram(p, q):
    p, q = np.array(p), np.array(q)
    share = lambda counts: counts / counts.sum()
    return {
        "p": p.tolist(),
        "q": q.tolist(),
        "mauve": mauve(share(p), share(q)),
        "mauve_star": mauve(share(p + 0.5), share(q + 0.5)),
    }


def components(n_rows, width, seed):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n_rows, width)) * np.linspace(2, 0.1, width)
    left, sizes, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    shares = np.cumsum(sizes**2) / np.sum(sizes**2)
    kept = int(np.argmax(shares >= 0.9)) + 1
    points = left[:, :kept] * sizes[:kept]
    return {
        "rows": rows.tolist(),
        "n_components": kept,
        "distances": np.linalg.norm(points - points[0], axis=1).tolist(),
    }


golden = {
    "histograms": [
        histogram([5, 3, 2, 0], [1, 4, 3, 2]),
        histogram([10, 0], [0, 7]),
        histogram([4, 4, 4], [9, 9, 9]),
        histogram([30, 12, 7, 1, 0, 5], [8, 10, 22, 3, 4, 0]),
        histogram([1, 0, 0, 9], [2, 1, 0, 7]),
    ],
    "principal_components": [components(14, 5, 1), components(6, 9, 2)],
}
Path(__file__).with_name("mauve.json").write_text(json.dumps(golden, indent=1) + "\n")
