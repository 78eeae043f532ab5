"""Do random rows of a grid score as the grid does? `score_codes` by its two protocols.

    .venv/bin/python benchmarks/given_codes.py [--codes trained.npy ...]

For each representation of mpi3d_mini, the scores of its 28,800 rows with many seeds (the
challenge's protocol), and those of random rows (the sampled one), with one seed. Whether that lies
where one more seed of the former would, is asked of Student's prediction interval: mean ± t s
sqrt(1 + 1/n). The interval of their mean, mean ± t s / sqrt(n), which `--repeats` shows, is another
question: of 20 seeds it holds a third of single ones.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import evaluator
from submission import datasets
from submission.datasets import Dataset


def representations(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Codes of all images that need no training, each with its name."""
    draws = np.random.default_rng(0)
    factors = factors_of(dataset)
    scaled = (factors / np.array(dataset.factor_sizes) - 0.5).astype(np.float32)
    yield "the factors", scaled
    noisy = scaled + 0.2 * draws.standard_normal(scaled.shape, np.float32)
    yield "the factors, noisy", noisy
    rotation = np.linalg.qr(draws.standard_normal((scaled.shape[1],) * 2))[0]
    yield "the factors, rotated", scaled @ rotation.astype(np.float32)
    among = 0.1 * draws.standard_normal((len(scaled), 20), np.float32)
    among[:, : scaled.shape[1]] += scaled
    yield "the factors, among noise", among
    pixels = dataset.images.reshape(len(dataset.images), -1)[:, ::7].astype(np.float32) / 255
    pixels -= pixels.mean(axis=0)
    some = pixels[draws.choice(len(pixels), 1000, replace=False)]
    axes = np.linalg.svd(some, full_matrices=False)[2][:10]
    yield "PCA of the pixels", pixels @ axes.T
    random = draws.standard_normal((pixels.shape[1], 10), np.float32) / math.sqrt(pixels.shape[1])
    yield "projections of the pixels", pixels @ random
    yield "noise", draws.standard_normal((len(scaled), 10), np.float32)


def factors_of(dataset: Dataset) -> np.ndarray:
    """The factors of each image of a data set whose images stand in the states' order."""
    states = np.unravel_index(np.arange(len(dataset.images)), dataset.factor_sizes)
    return np.stack(states, axis=1)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--codes", type=Path, nargs="*", default=[], help="of all images, .npy")
    parser.add_argument("--metrics", nargs="+", default=[], help="the challenge's by default")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument(
        "--gin", action="append", default=[], help="sample sizes of all rows, for a fair comparison"
    )
    options = parser.parse_args()
    dataset = datasets.load("mpi3d_mini")
    factors = factors_of(dataset)
    chosen = np.random.default_rng(1).choice(len(factors), options.rows, replace=False)
    every = [(path.stem.split("-")[0], np.load(path)) for path in options.codes]
    every.extend(representations(dataset))
    print(
        f"{options.rows:,} random rows of {len(factors):,}; of all rows {options.repeats} seeds\n\n"
        "| representation | metric | all rows, mean | deviation over seeds | random rows | "
        "difference | in the prediction interval | in the interval of the mean |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    inside, total = np.zeros(2, int), 0
    for name, codes in every:
        grid = evaluator.score_codes(
            codes, factors, metrics=options.metrics, repeats=options.repeats, gin=options.gin
        )
        rows = evaluator.score_codes(codes[chosen], factors[chosen], metrics=options.metrics)
        for metric, score in rows.scores.items():
            scores = np.array(grid.intervals[metric].scores)
            mean, deviation = scores.mean(), scores.std(ddof=1)
            quantile = stats.t.ppf(0.975, len(scores) - 1)
            of_mean = quantile * deviation / math.sqrt(len(scores))
            within = [
                abs(score - mean) <= reach
                for reach in (of_mean * math.sqrt(len(scores) + 1), of_mean)
            ]
            inside, total = inside + np.array(within), total + 1
            print(
                f"| {name} | {metric} | {mean:.4f} | {deviation:.4f} | {score:.4f} | "
                f"{score - mean:+.4f} | {' | '.join('yes' if one else 'NO' for one in within)} |",
                flush=True,
            )
    print(f"\n{inside[0]} and {inside[1]} of {total} within.")


if __name__ == "__main__":
    main()
