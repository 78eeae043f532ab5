"""Why is my number another? What each choice moves the scores by, on the same representations.

    .venv/bin/python benchmarks/why_another.py [--codes trained.npy ...]
    .venv/bin/python benchmarks/why_another.py --scikit-learn [--codes trained.npy ...]

Each row is a change of one thing, and each column how far the challenge's score of seed 0 moves.
The second form fits scikit-learn's own models: SAP's SVMs in the dual, which the challenge's
version solved, and in the primal; and DCI's importances as averaged until scikit-learn 0.19 (each
tree's scaled to 1, its pull request 11176) and since.
"""

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluator import metrics
from evaluator.given_codes import score_table
from evaluator.metrics.dci import concentration
from evaluator.metrics.draws import draw
from submission import datasets
from submission.datasets import Dataset

CHOSEN = metrics.choose(())
FEW = [f"{name}.num_train = 1000" for name in ("dci", "sap_score", "mig", "irs")]
FEW += ["dci.num_test = 500", "sap_score.num_test = 500", "factor_vae_score.num_train = 1000"]
FEW += ["factor_vae_score.num_eval = 500", "factor_vae_score.num_variance_estimate = 1000"]
# Of them the trees of scikit-learn, which take minutes, are grown.
DCI_SAMPLES = 500

Scores = dict[str, float]


def scores(
    dataset: Dataset, table: np.ndarray, seed: int = 0, bindings: list[str] | None = None
) -> Scores:
    """The challenge's, of a table of codes."""
    results = score_table(dataset, table, CHOSEN, seed=seed, bindings=bindings or [])
    return {name: result.score for name, result in results.items()}


def representations(dataset: Dataset, files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Trained ones of the command line, and the factors in noise."""
    for path in files:
        yield path.stem.split("-")[0], np.load(path)
    draws = np.random.default_rng(0)
    states = np.unravel_index(np.arange(len(dataset.images)), dataset.factor_sizes)
    factors = np.stack(states, axis=1) / np.array(dataset.factor_sizes) - 0.5
    factors /= factors.std(axis=0)
    noisy = 0.9 * factors + math.sqrt(1 - 0.9**2) * draws.standard_normal(factors.shape)
    idle = 0.01 * draws.standard_normal((len(factors), 3))
    yield "factors in noise", np.concatenate([noisy, idle], axis=1).astype(np.float32)


def sampled(codes: np.ndarray) -> np.ndarray:
    """As a posterior's samples: each latent's mean, and what is missing to the prior's variance."""
    missing = np.sqrt(np.clip(1 - codes.var(axis=0), 0.01, None))
    noise = np.random.default_rng(0).standard_normal(codes.shape)
    return (codes + missing * noise).astype(codes.dtype)


def beside(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Further latents beside the codes."""
    return np.concatenate([codes, others.astype(codes.dtype)], axis=1)


def changes() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What is changed of the codes."""
    draws = np.random.default_rng(1)
    return {
        "samples of the posterior, not means": sampled,
        "10 constant latents (0) more": lambda codes: beside(codes, np.zeros((len(codes), 10))),
        "10 constant latents (0.1) more": lambda codes: beside(
            codes, np.full((len(codes), 10), 0.1)
        ),
        "10 latents of noise more": lambda codes: beside(
            codes, draws.standard_normal((len(codes), 10))
        ),
        "every latent twice": lambda codes: beside(codes, codes),
        "codes x 0.01": lambda codes: codes * codes.dtype.type(0.01),
        "codes x 100": lambda codes: codes * codes.dtype.type(100),
        "one latent x 100": lambda codes: (
            codes * np.eye(1, codes.shape[1], dtype=codes.dtype) * 99 + codes
        ),
        "each latent to variance 1": lambda codes: (codes / codes.std(axis=0)).astype(codes.dtype),
        "codes + 100": lambda codes: codes + codes.dtype.type(100),
        "latents in reverse": lambda codes: codes[:, ::-1],
        "float64": lambda codes: codes.astype(np.float64),
        "float16": lambda codes: codes.astype(np.float16),
        "rounded to 0.1": lambda codes: np.round(codes, 1),
    }


def effects(dataset: Dataset, codes: np.ndarray) -> Iterator[tuple[str, Scores]]:
    """Each change and the scores after it; first those as they are."""
    base = scores(dataset, codes)
    yield "as it is", base
    others = [scores(dataset, codes, seed) for seed in range(1, 6)]
    for name, choose in (("lowest of 5 other seeds", min), ("highest of 5 other seeds", max)):
        yield name, {metric: choose(one[metric] for one in others) for metric in base}
    yield "a tenth of the samples", scores(dataset, codes, bindings=FEW)
    for left_out in (0, len(dataset.factor_sizes) - 1):
        kept = tuple(factor for factor in dataset.scored_factors if factor != left_out)
        name = f"the factor {dataset.factor_names[left_out]} not scored"
        yield name, scores(replace(dataset, scored_factors=kept), codes)
    for name, change in changes().items():
        yield name, scores(dataset, np.ascontiguousarray(change(codes)))


def of_scikit_learn(dataset: Dataset, codes: np.ndarray) -> Iterator[tuple[str, float]]:
    """SAP and DCI with scikit-learn's own models."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.svm import LinearSVC

    sap = metrics.choose(["sap_score"])
    yield "SAP, exact", score_table(dataset, codes, sap)["sap_score"].score
    random_state = np.random.RandomState(0)
    train = draw(dataset, 10_000, 16, random_state)
    test = draw(dataset, 5_000, 16, random_state)
    for dual in (True, False):
        accuracies = np.zeros((codes.shape[1], dataset.num_factors))
        for latent in range(codes.shape[1]):
            for factor in range(dataset.num_factors):
                np.random.seed(0)
                machine = LinearSVC(C=0.01, class_weight="balanced", dual=dual)
                machine.fit(codes[train.indices, latent, None], train.factors[:, factor])
                predicted = machine.predict(codes[test.indices, latent, None])
                accuracies[latent, factor] = np.mean(predicted == test.factors[:, factor])
        best = np.sort(accuracies, axis=0)
        yield f"SAP, LinearSVC(dual={dual})", float(np.mean(best[-1] - best[-2]))

    few = draw(dataset, DCI_SAMPLES, 16, np.random.RandomState(0))
    since, until = [], []
    for factor in range(dataset.num_factors):
        model = GradientBoostingClassifier(random_state=0)
        model.fit(codes[few.indices], few.factors[:, factor])
        since.append(model.feature_importances_)
        trees = [tree.feature_importances_ for tree in model.estimators_.ravel()]
        until.append(np.mean(trees, axis=0))
    yield f"DCI of {DCI_SAMPLES} samples, scikit-learn since 0.20", concentration(np.array(since).T)
    yield f"DCI of {DCI_SAMPLES} samples, until 0.19", concentration(np.array(until).T)


def main() -> None:
    """Prints a table for each representation."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--codes", type=Path, nargs="*", default=[], help="of all images, .npy")
    parser.add_argument("--scikit-learn", action="store_true", help="fit its own models")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    dataset = datasets.load("mpi3d_mini")
    for name, codes in representations(dataset, options.codes):
        print(f"\n{name}: {codes.shape[1]} latents, {codes.dtype}\n")
        if options.scikit_learn:
            for what, score in of_scikit_learn(dataset, codes):
                print(f"| {what} | {score:.4f} |", flush=True)
            continue
        print(f"| | {' | '.join(one.title for one in CHOSEN)} |")
        print("| --- " * (len(CHOSEN) + 1) + "|")
        base: Scores = {}
        for what, found in effects(dataset, codes):
            shown = [
                f"{score - base[metric]:+.4f}" if base else f"{score:.4f}"
                for metric, score in found.items()
            ]
            base = base or found
            print(f"| {what} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
