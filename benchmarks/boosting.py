"""DCI's boosted trees and SAP's support vector machines against scikit-learn's, in one run.

    nice -n 10 .venv/bin/python benchmarks/boosting.py --reference-stages 10

The codes are those of an encoder that found some of the factors: informative latents, and latents
that collapsed to noise around 0. scikit-learn runs in one process with its defaults, for a 40-class
factor: all of it with --reference-stages 100 (about 6 minutes), its time a tree with fewer.
"""

import argparse
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.svm import LinearSVC

sys.path.insert(0, str(Path(__file__).parents[1]))

from evaluator.metrics import boosting, linear_svc

# The factors of MPI3D as the challenge sampled it.
SIZES = np.array([4, 4, 2, 3, 3, 40, 40])
# For a sample and a latent, a node's search reads this for eight trees at once: a rank's sample (4
# bytes) and code (4), eight residuals (64), eight node numbers (8). Eight trees take this walk once
# for each of their 7 inner nodes.
BYTES_A_STEP = 80
INNER_NODES = 7


def sample(count: int, latents: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes float32 [count, latents] and factors int64 [count, 7]."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, SIZES, (count, len(SIZES)))
    mixing = np.random.default_rng(0).normal(size=(len(SIZES), latents))
    mixing[:, latents // 2 :] = 0
    noise = np.where(np.arange(latents) < latents // 2, 0.2, 0.01)
    codes = (factors / SIZES - 0.5) @ mixing + noise * rng.normal(size=(count, latents))
    return codes.astype(np.float32), factors


def timed(run: Callable[[], object], repeats: int) -> np.ndarray:
    """Wall-clock and processor seconds, the fewest of some runs: others may share the machine."""
    seconds = []
    for _ in range(repeats):
        start = np.array([time.perf_counter(), time.process_time()])
        run()
        seconds.append(np.array([time.perf_counter(), time.process_time()]) - start)
    return np.min(seconds, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--latents", type=int, default=20)
    parser.add_argument("--reference-stages", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    codes, factors = sample(options.samples, options.latents, seed=1)
    test_codes, test_factors = sample(5_000, options.latents, seed=2)
    widest = factors[:, -1:]

    start = time.perf_counter()
    boosting.fit(codes[:100], factors[:100], seed=0)
    linear_svc.score_matrix(codes[:100], factors[:100], test_codes[:10], test_factors[:10])
    print(f"compile, or load what was compiled before: {time.perf_counter() - start:.2f} s")

    def report(name: str, seconds: np.ndarray, trees: int, reference: np.ndarray) -> None:
        steps = INNER_NODES * options.samples * options.latents * trees / 8 / seconds[0]
        ratio = reference * trees / seconds
        print(
            f"{name:28} {seconds[0]:8.3f} s ({seconds[1]:.3f} s of processors)  "
            f"{1e3 * seconds[0] / trees:.3f} ms a tree  "
            f"{ratio[0]:.0f} times faster ({ratio[1]:.0f} times less processor time)  "
            f"{8 * steps / 1e9:.2f} G visits/s  {BYTES_A_STEP * steps / 1e9:.1f} GB/s"
        )

    fast = timed(lambda: boosting.fit(codes, widest, seed=0), options.repeats)
    model = GradientBoostingClassifier(n_estimators=options.reference_stages, random_state=0)
    slow = timed(lambda: model.fit(codes, widest[:, 0]), 1)
    # Again, so that a neighbour's load in one of the two runs doesn't pass for speed.
    fast = np.minimum(fast, timed(lambda: boosting.fit(codes, widest, seed=0), options.repeats))
    trees = options.reference_stages * SIZES[-1]
    print(
        f"{'scikit-learn, 40 classes':28} {slow[0]:8.3f} s ({slow[1]:.3f} s of processors)  "
        f"{1e3 * slow[0] / trees:.3f} ms a tree"
    )
    report("boosting.fit, 40 classes", fast, boosting.STAGES * SIZES[-1], slow / trees)
    columns = sum(size if size > 2 else 1 for size in SIZES)
    everything = timed(
        lambda: boosting.importance_matrix(codes, factors, test_codes, test_factors, seed=0),
        options.repeats,
    )
    report("importance_matrix, 7 factors", everything, boosting.STAGES * columns, slow / trees)
    if options.reference_stages == boosting.STAGES:
        ensemble = boosting.fit(codes, widest, seed=0)
        gap = np.abs(ensemble.importance[:, 0] - model.feature_importances_).max()
        print(f"largest difference of importances, of which ties are part: {gap:.1e}")

    def reference_scores() -> np.ndarray:
        scores = np.zeros((options.latents, len(SIZES)))
        for latent in range(options.latents):
            for f in range(len(SIZES)):
                machine = LinearSVC(C=0.01, class_weight="balanced")
                machine.fit(codes[:, latent, None], factors[:, f])
                predicted = machine.predict(test_codes[:, latent, None])
                scores[latent, f] = np.mean(predicted == test_factors[:, f])
        return scores

    def fast_scores() -> np.ndarray:
        return linear_svc.score_matrix(codes, factors, test_codes, test_factors)

    fast = timed(fast_scores, options.repeats)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference_scores()
        slow = timed(reference_scores, 1)
    fast = np.minimum(fast, timed(fast_scores, options.repeats))
    print(f"{'LinearSVC':28} {slow[0]:8.3f} s ({slow[1]:.3f} s of processors)")
    print(
        f"{'linear_svc.score_matrix':28} {fast[0]:8.3f} s ({fast[1]:.3f} s of processors)  "
        f"{slow[0] / fast[0]:.0f} times faster ({slow[1] / fast[1]:.0f} times less processor time)"
    )
    print(f"largest difference of accuracies: {np.abs(fast_scores() - expected).max():.1e}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"peak memory of this process, scikit-learn's part included: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
