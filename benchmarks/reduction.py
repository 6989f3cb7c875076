"""Maps and clusters of the digits: souron beside scikit-learn, openTSNE and umap-learn.

    python benchmarks/reduction.py --seeds 3

1 797 digits of 64 pixels in 0..1. Maps: trustworthiness and continuity (5 nearest neighbours) of
the map, and seconds to learn it. Clusters: silhouette of all that is no noise, how much is noise,
the adjusted Rand index to the ten digits, and seconds. All run in one process with the same number
of threads, each once before it is timed; a cell is the median of the seeds, in brackets the range.
"""

import argparse
import importlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from printing import say, spread, table, watched, where
from sklearn import cluster, decomposition, manifold
from torch import Tensor

from souron.data.load import load
from souron.evaluation.unsupervised import Points, Spec
from souron.metrics.clustering import adjusted_rand, silhouette
from souron.metrics.reduction import continuity, trustworthiness
from souron.training.loop import Run

Way = Callable[[Tensor, int], Tensor]  # points (N, D), seed -> places (N, dims) or labels (N,)


def ours(module: str, name: str, **config: Any) -> Way:
    found = importlib.import_module(f"souron.systems.{module}")

    def way(points: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        system = getattr(found, name)(found.Config(**config), Spec(points.shape[1], len(points)))
        for _progress in system.fit(Points(points), Run(10**9)):
            pass
        return system(points)

    return way


def theirs(method: str, make: Callable[[int], Any]) -> Way:
    def way(points: Tensor, seed: int) -> Tensor:
        return torch.as_tensor(np.asarray(getattr(make(seed), method)(points.numpy())))

    return way


def open_tsne(threads: int) -> Way:
    module = importlib.import_module("openTSNE")
    return theirs("fit", lambda seed: module.TSNE(random_state=seed, n_jobs=threads))


def umap_learn() -> Way:
    module = importlib.import_module("umap")
    # with a seed it runs in one thread, and says so if it is asked for more
    return theirs("fit_transform", lambda seed: module.UMAP(random_state=seed, n_jobs=1))


def maps(threads: int) -> dict[str, Callable[[], Way]]:
    return {
        "PCA, souron": lambda: ours("reduce.pca", "PCA"),
        "PCA, scikit-learn": lambda: theirs("fit_transform", lambda seed: decomposition.PCA(2)),
        "t-SNE, souron": lambda: ours("reduce.tsne", "TSNE"),
        "t-SNE, scikit-learn": lambda: theirs(
            "fit_transform", lambda seed: manifold.TSNE(random_state=seed, n_jobs=threads)
        ),
        "t-SNE, openTSNE": lambda: open_tsne(threads),
        "UMAP, souron": lambda: ours("reduce.umap", "UMAP"),
        "UMAP, umap-learn": lambda: umap_learn(),
    }


def clusterings(threads: int) -> dict[str, Callable[[], Way]]:
    return {
        "k-means, souron": lambda: ours("cluster.kmeans", "KMeans", groups=10),
        "k-means, scikit-learn": lambda: theirs(
            "fit_predict", lambda seed: cluster.KMeans(10, n_init=1, random_state=seed)
        ),
        "Ward, souron": lambda: ours("cluster.hierarchical", "Hierarchical", groups=10),
        "Ward, scikit-learn": lambda: theirs("fit_predict", lambda seed: cluster.AgglomerativeClustering(10)),
        "HDBSCAN, souron": lambda: ours("cluster.hdbscan", "HDBSCAN"),
        "HDBSCAN, scikit-learn": lambda: theirs(
            "fit_predict", lambda seed: cluster.HDBSCAN(min_cluster_size=5, n_jobs=threads, copy=True)
        ),
    }


def measured(
    name: str, made: Callable[[], Way], points: Tensor, seeds: int, threads: int
) -> Iterator[tuple[Tensor, float, float]]:
    """Answer, seconds and CPU seconds of each seed; none where a peer is not installed."""
    try:
        way = made()
    except ImportError as missing:
        say(f"{name}: {missing.name} is not installed")
        return
    way(points[:300], 0)  # compiles, imports, starts threads
    torch.set_num_threads(threads)  # numba, under umap-learn, sets it for the process
    for seed in range(seeds):
        with watched():
            begun, used = time.perf_counter(), time.process_time()
            answer = way(points, seed)
            took, used = time.perf_counter() - begun, time.process_time() - used
        say(f"{name}, seed {seed}: {took:.2f} s")
        yield answer, took, used


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")

    digits = load("digits")
    points = digits.input.flatten(1).float() / 255
    rows = []
    for name, made in maps(asked.threads).items():
        found = list(measured(name, made, points, asked.seeds, asked.threads))
        if found:
            trust = [float(trustworthiness(points, places).mean()) for places, _, _ in found]
            whole = [float(continuity(points, places).mean()) for places, _, _ in found]
            times = [[one[i] for one in found] for i in (1, 2)]
            rows.append([name, spread(trust, 4), spread(whole, 4), *(spread(t, 2) for t in times)])
    print(table(["map", "trustworthiness", "continuity", "seconds", "CPU seconds"], rows), "\n")

    rows = []
    for name, made in clusterings(asked.threads).items():
        found = list(measured(name, made, points, asked.seeds, asked.threads))
        if found:
            figures = [silhouette(points, labels) for labels, _, _ in found]
            near = [float(figure.scores.mean()) for figure in figures]
            noise = [float(figure.noise) / len(points) for figure in figures]
            rand = [adjusted_rand(labels, digits.target) for labels, _, _ in found]
            times = [[one[i] for one in found] for i in (1, 2)]
            rows.append([name, *(spread(v, 3) for v in (near, noise, rand)), *(spread(t, 2) for t in times)])
    head = ["clusters", "silhouette", "noise", "adjusted Rand index", "seconds", "CPU seconds"]
    print(table(head, rows), "\n")
    print(where(asked.threads, "scikit-learn", "openTSNE", "umap-learn"))


if __name__ == "__main__":
    main()
