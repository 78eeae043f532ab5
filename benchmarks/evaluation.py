"""The evaluator's fast engine against disentanglement_lib's own functions, in one run.

Seconds, memory and scores of both, for a trained encoder on the 460,800-image grid:

    nice -n 5 .venv/bin/python benchmarks/evaluation.py compare --dataset mpi3d_mini_full \\
        scratch/shared/experiment_name/representation

DCI and SAP of ten representations and more, on the same codes in both; scikit-learn fits one
factor of one representation in each process, and what it has fitted is kept in --cache:

    nice -n 5 .venv/bin/python benchmarks/evaluation.py agree --dataset mpi3d_mini_full \\
        scratch/shared/*/representation

How cost grows with samples and latents, as a plot:

    nice -n 5 .venv/bin/python benchmarks/evaluation.py scale

What it costs that a model runs in a process of its own:

    nice -n 5 .venv/bin/python benchmarks/evaluation.py apart RUN/representation
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from evaluator import metrics
from evaluator.ground_truth import GroundTruth
from evaluator.metrics.draws import draw
from submission import datasets
from submission.datasets import Dataset
from submission.datasets.pixels import in_unit_range

ROOT = Path(__file__).resolve().parents[1]
# The metrics that have the same bits given the same codes.
EXACT = ("factor_vae_metric", "mig", "irs")
# The bars for the others.
TOLERANCE = {"dci": 2e-3, "sap_score": 1e-3}
# Multiplications and additions that an image takes in the paper's encoder: five 3x3 convolutions of
# stride 2 over 31, 15, 7, 3 and 1 pixels square.
ENCODER_FLOP = 2 * 9 * (961 * 3 * 32 + 225 * 32 * 32 + 49 * 32 * 64 + 9 * 64 * 128 + 128 * 256)


# --- Compare ------------------------------------------------------------------------------------


@dataclass
class Measured:
    """What one metric, or the engine's preparation, took and gave."""

    seconds: float
    processor_seconds: float
    peak_mib: float
    score: float = 0.0
    values: dict[str, float] | None = None
    encoded: int = 0
    equal_bits: bool | None = None


@contextmanager
def measured() -> Iterator[Measured]:
    """Times a block and watches the process's own memory, without the mapped images."""
    result = Measured(0, 0, 0)
    done = threading.Event()

    def watch() -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            kib = int(status.split("RssAnon:")[1].split()[0])
            result.peak_mib = max(result.peak_mib, kib / 1024)
            if done.wait(0.02):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, processor = time.perf_counter(), time.process_time()
    try:
        yield result
    finally:
        result.seconds = time.perf_counter() - start
        result.processor_seconds = time.process_time() - processor
        done.set()
        watcher.join()


def measure(
    engine: str, folder: Path, dataset: str, names: list[str], seed: int, bindings: list[str]
) -> dict[str, Measured]:
    """Runs one engine in this process, which should be a fresh one."""
    from evaluator import engines, formats, representations
    from evaluator.metrics import reference

    truth = GroundTruth(datasets.load(dataset))
    found = {}
    encoded = 0

    def count(images: int) -> None:
        nonlocal encoded
        encoded += images

    chosen = metrics.choose(names)
    path = formats.find(folder, allow_pickle=True)
    with representations.start(path) as process:
        representation = representations.read(process, truth).counted(count)
        with measured() as preparation:
            ready = engines.prepare(
                engine,
                truth,
                representation,
                chosen,
                seeds=[seed],
                preset="challenge",
                bindings=bindings,
            )
        assert ready.engine == engine, ready.warnings
        found["encoding"] = preparation
        preparation.encoded = encoded
        for metric in chosen:
            encoded = 0
            with measured() as one:
                result = ready.score(metric, seed, "challenge", bindings)
            one.score, one.values, one.encoded = result.score, result.values, encoded
            found[metric.name] = one
            print(f"{engine}: {metric.name} {one.score:.6f} in {one.seconds:.1f} s", flush=True)
    if isinstance(ready.score, engines.Fast):
        for name in set(EXACT) & found.keys():
            metric = metrics.METRICS[name]
            codes = ready.score.codes
            same = reference.run_on_codes(codes, metric, seed, "challenge", bindings)
            found[name].equal_bits = same.values == found[name].values
    return found


def compare(options: argparse.Namespace) -> None:
    """Prints the table of both engines."""
    import torch

    datasets.load(options.dataset)
    names = [metric.name for metric in metrics.choose(options.metrics)]
    runs = ["fast", "reference", "fast"]
    found: dict[str, list[dict[str, Measured]]] = {"fast": [], "reference": []}
    for engine in runs:
        print(f"{engine}: load average {os.getloadavg()[0]:.1f}", flush=True)
        # A process for each run, so that none inherits the memory or the codes of another.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            arguments = (engine, options.representation, options.dataset, names)
            job = pool.submit(measure, *arguments, options.seed, options.gin)
            found[engine].append(job.result())
        if options.json:  # after each run, so that a later one that fails costs nothing
            everything = {
                name: [{metric: vars(one) for metric, one in run.items()} for run in of_engine]
                for name, of_engine in found.items()
            }
            options.json.write_text(json.dumps(everything, indent=1))

    print(
        f"\n{options.representation} on {options.dataset}; {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads; the faster of "
        "two runs of the fast engine, one before and one after the reference\n"
    )
    print(
        "| metric | fast s | reference s | times faster | in processor time | fast MiB | "
        "reference MiB | encoded, fast | reference | fast score | reference score | difference | "
        "bits, same codes |"
    )
    print("|" + " --- |" * 13)
    totals = np.zeros((2, 2))
    encoded = np.zeros(2, dtype=int)
    for name in ("checks", *names):
        fast = min((run[name] for run in found["fast"]), key=lambda one: one.seconds)
        reference = found["reference"][0][name]
        times = np.array(
            [[one.seconds, one.processor_seconds] for one in (fast, reference)], dtype=float
        )
        totals += times
        encoded += (fast.encoded, reference.encoded)
        ratio = times[1] / times[0]
        bits = {None: "", True: "equal", False: "DIFFER"}[fast.equal_bits]
        scores = f"{fast.score:.6f} | {reference.score:.6f} | {fast.score - reference.score:.1e}"
        print(
            f"| {name} | {fast.seconds:.2f} | {reference.seconds:.2f} | "
            + ("| | " if name == "checks" else f"{ratio[0]:.1f} | {ratio[1]:.1f} | ")
            + f"{fast.peak_mib:.0f} | {reference.peak_mib:.0f} | {fast.encoded:,} | "
            + f"{reference.encoded:,} | {'| | ' if name == 'checks' else scores} | {bits} |"
        )
    ratio = totals[1] / totals[0]
    print(
        f"| total | {totals[0, 0]:.2f} | {totals[1, 0]:.2f} | {ratio[0]:.1f} | {ratio[1]:.1f} | "
        f"| | {encoded[0]:,} | {encoded[1]:,} | | | | |"
    )
    flop = ENCODER_FLOP * int(encoded[0])
    print(
        f"\nEncoding, were it the paper's network: {flop / 1e12:.2f} TFLOP, "
        f"{encoded[0] * 64 * 64 * 3 / 1e9:.2f} GB of pixels read once."
    )


# --- Agree --------------------------------------------------------------------------------------


@dataclass
class Sample:
    """Codes and factors that DCI and SAP are fitted to, and those they are tested on."""

    name: str
    train: np.ndarray
    train_factors: np.ndarray
    test: np.ndarray
    test_factors: np.ndarray


def samples(
    dataset: Dataset, folders: list[Path], num_train: int, num_test: int, seed: int
) -> Iterator[Sample]:
    """Yields trained encoders' codes, then those that need no training."""
    import torch

    from evaluator import formats, representations
    from evaluator.codes import Codes
    from submission.networks import Encoder, NetworkShape

    truth = GroundTruth(dataset)
    random_state = np.random.RandomState(seed)
    train = draw(dataset, num_train, 16, random_state)
    test = draw(dataset, num_test, 16, random_state)

    def sample(name: str, train_codes: np.ndarray, test_codes: np.ndarray) -> Sample:
        return Sample(name, train_codes, train.factors, test_codes, test.factors)

    def encoded(name: str, folder: Path) -> Sample:
        path = formats.find(folder, allow_pickle=True)
        with representations.start(path) as process:
            codes = Codes(truth, representations.read(process, truth))
            codes.encode(np.concatenate([train.indices, test.indices]))
        return sample(name, codes[train.indices], codes[test.indices])

    for folder in folders:
        yield encoded(f"trained: {folder.parent.name}", folder)

    class Mean(torch.nn.Module):
        def __init__(self, encoder: Encoder) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.encoder(images)[0]

    for number in range(3):
        torch.manual_seed(number)
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            encoder = Mean(Encoder(NetworkShape(dataset.images.shape[3], latents=20)))
            torch.jit.script(encoder.eval()).save(f"{temporary}/pytorch_model.pt")
            yield encoded(f"random encoder {number}", Path(temporary))

    pixels = [
        in_unit_range(dataset.images[drawn.indices], dataset.white).reshape(len(drawn.indices), -1)
        for drawn in (train, test)
    ]
    mean = pixels[0].mean(axis=0)
    axes = np.linalg.svd(pixels[0][:1000] - mean, full_matrices=False)[2][:20].T
    yield sample("PCA of the pixels", *((part - mean) @ axes for part in pixels))
    del pixels

    sizes = np.array(dataset.factors_num_values)
    factors = [(drawn.factors / sizes - 0.5).astype(np.float32) for drawn in (train, test)]
    yield sample("the factors", *factors)
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(len(sizes), len(sizes))))[0].astype(np.float32)
    yield sample("the factors, rotated", *(part @ rotation for part in factors))
    noise = [0.1 * rng.normal(size=(len(part), 20)).astype(np.float32) for part in factors]
    for own, part in zip(noise, factors, strict=True):
        own[:, : len(sizes)] += part
    yield sample("the factors, noisy, among noise", *noise)


def fit_trees(train: np.ndarray, labels: np.ndarray, seed: int) -> list[float]:
    """disentanglement_lib's importances of one factor; its generator is numpy's global one."""
    from sklearn.ensemble import GradientBoostingClassifier

    np.random.seed(seed)
    model = GradientBoostingClassifier().fit(train, labels)
    return np.abs(model.feature_importances_).tolist()


def fit_machines(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int
) -> list[float]:
    """disentanglement_lib's accuracies of all latents for one factor."""
    from sklearn.svm import LinearSVC

    np.random.seed(seed)
    accuracies = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for latent in range(train.shape[1]):
            machine = LinearSVC(C=0.01, class_weight="balanced")
            machine.fit(train[:, latent, None], labels)
            predicted = machine.predict(test[:, latent, None])
            accuracies.append(float(np.mean(predicted == test_labels)))
    return accuracies


def agree(options: argparse.Namespace) -> None:
    """Prints DCI and SAP of both for each representation."""
    from evaluator.compat import load_metric_module
    from evaluator.metrics import boosting, linear_svc
    from evaluator.metrics.dci import concentration

    dataset = datasets.load(options.dataset)
    every = list(
        samples(dataset, options.representation, options.num_train, options.num_test, options.seed)
    )
    kept: dict[str, list[float]] = {}
    if options.cache.exists():
        kept = {
            key: value
            for key, value in map(json.loads, options.cache.read_text().splitlines())
            if value
        }

    def key(kind: str, seed: int, *arrays: np.ndarray) -> str:
        digest = hashlib.sha256(f"{kind} {seed}".encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    jobs: dict[str, tuple[Any, ...]] = {}
    keys: dict[tuple[int, str, int, int], str] = {}
    factors = range(dataset.num_factors)
    for number, one in enumerate(every):
        for f in factors:
            labels, test_labels = one.train_factors[:, f], one.test_factors[:, f]
            for seed in range(options.reference_seeds):
                name = key("dci", seed, one.train, labels)
                keys[number, "dci", f, seed] = name
                jobs[name] = (fit_trees, one.train, labels, seed)
            name = key("sap", 0, one.train, labels, one.test, test_labels)
            keys[number, "sap_score", f, 0] = name
            jobs[name] = (fit_machines, one.train, labels, one.test, test_labels, 0)
    # The longest first, so that no process ends up alone with one.
    todo = sorted(
        (name for name in jobs if name not in kept),
        key=lambda name: -len(np.unique(jobs[name][2])) * (jobs[name][0] is fit_trees),
    )
    print(
        f"{len(every)} representations, {len(todo)} fits of scikit-learn in {options.jobs} "
        f"processes, {len(jobs) - len(todo)} kept in {options.cache}",
        flush=True,
    )
    context = multiprocessing.get_context("spawn")
    start = time.monotonic()
    with ProcessPoolExecutor(options.jobs, context) as pool, options.cache.open("a") as file:
        running = {pool.submit(*jobs[name]): name for name in todo}
        for done, job in enumerate(as_completed(running), 1):
            kept[running[job]] = job.result()
            file.write(json.dumps([running[job], kept[running[job]]]) + "\n")
            file.flush()
            print(f"{done} of {len(todo)}, {time.monotonic() - start:.0f} s", flush=True)

    theirs = load_metric_module("dci")
    sap = load_metric_module("sap_score").compute_avg_diff_top_two
    print(
        f"\n{options.dataset}, {options.num_train} and {options.num_test} samples, "
        f"seed {options.seed}\n\n"
        "| representation | latents | DCI, fast | scikit-learn | difference | spread of "
        "scikit-learn | SAP, fast | scikit-learn | difference |"
    )
    print("|" + " --- |" * 9)
    largest = {"dci": 0.0, "sap_score": 0.0}
    for number, one in enumerate(every):
        data = (one.train, one.train_factors, one.test, one.test_factors)
        importance = boosting.importance_matrix(*data, seed=options.seed)[0]
        dci = concentration(importance)
        references = [
            theirs.disentanglement(
                np.array([kept[keys[number, "dci", f, seed]] for f in factors]).T
            )
            for seed in range(options.reference_seeds)
        ]
        our_sap = sap(linear_svc.score_matrix(*data))
        their_sap = sap(np.array([kept[keys[number, "sap_score", f, 0]] for f in factors]).T)
        # Against the first seed alone, as a user would compare them.
        differences = {"dci": dci - references[0], "sap_score": our_sap - their_sap}
        for name, difference in differences.items():
            largest[name] = max(largest[name], abs(difference))
        print(
            f"| {one.name} | {one.train.shape[1]} | {dci:.6f} | {references[0]:.6f} | "
            f"{differences['dci']:.1e} | "
            + (f"{np.ptp(references):.1e}" if options.reference_seeds > 1 else "")
            + f" | {our_sap:.6f} | {their_sap:.6f} | {differences['sap_score']:.1e} |"
        )
    for name, bar in TOLERANCE.items():
        verdict = "within" if largest[name] <= bar else "BEYOND"
        print(f"{name}: largest difference {largest[name]:.1e}, {verdict} {bar:g}")


# --- Scale --------------------------------------------------------------------------------------


def made_up(latents: int) -> tuple[GroundTruth, Any]:
    """MPI3D's grid with the number of each image as its pixel, and codes that follow factors."""
    from evaluator.representations import Representation

    sizes = (4, 4, 2, 3, 3, 40, 40)
    count = int(np.prod(sizes))
    numbers = np.arange(count)
    pixels = np.stack([numbers >> shift & 255 for shift in (0, 8, 16)], axis=1).astype(np.uint8)
    images = pixels.reshape(count, 1, 1, 3)
    names = tuple("abcdefg")
    rng = np.random.default_rng(0)
    factors = np.stack(np.unravel_index(numbers, sizes), axis=1) / np.array(sizes)
    mixed = factors.astype(np.float32) @ rng.normal(size=(7, latents)).astype(np.float32)
    table = mixed + 0.2 * rng.normal(size=mixed.shape).astype(np.float32)

    def encode(images: np.ndarray) -> np.ndarray:
        pixel = np.rint(images[:, 0, 0] * 255).astype(int)
        return table[pixel @ np.array([1, 256, 65536])]

    dataset = Dataset("numbers", images, names, sizes, tuple(range(7)))
    return GroundTruth(dataset), Representation(Path("made up"), encode, latents, True)


def scale(options: argparse.Namespace) -> None:
    """Times each metric over samples and latents, prints and draws it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from evaluator.codes import Codes

    all_samples, all_latents = (2500, 5000, 10_000, 20_000, 40_000), (5, 10, 20, 40, 80)

    def seconds(name: str, num: int, codes: Codes) -> float:
        chosen = {
            setting.split(".")[1]: value
            for setting, value in metrics.settings(metrics.METRICS[name], "challenge").items()
        }
        scaled = {
            setting: max(2, value * num // 10_000)
            for setting, value in chosen.items()
            if setting.startswith("num_") and setting != "num_bins"
        }
        compute = metrics.METRICS[name].compute
        assert compute is not None
        best = np.inf
        for _ in range(options.repeats):
            start = time.process_time()
            compute(codes, 0, **(chosen | scaled))
            best = min(best, time.process_time() - start)
        return float(best)

    found: dict[str, dict[str, list[float]]] = {"samples": {}, "latents": {}}
    tables = {}
    for latents in all_latents:
        tables[latents] = Codes(*made_up(latents))
        tables[latents].encode(np.arange(len(tables[latents].dataset.images)))
    for name in metrics.METRICS:
        seconds(name, 200, tables[20])  # compiles, or loads what was compiled before
        by_samples = [seconds(name, num, tables[20]) for num in all_samples]
        by_latents = [seconds(name, 10_000, tables[latents]) for latents in all_latents]
        found["samples"][name], found["latents"][name] = by_samples, by_latents
    for axis, values in (("samples", all_samples), ("latents", all_latents)):
        print(
            f"\nprocessor seconds by {axis}\n\n| metric | " + " | ".join(map(str, values)), end=""
        )
        print(" | exponent |\n|" + " --- |" * (len(values) + 2))
        for name, times in found[axis].items():
            # Cost is proportional to values ** exponent over the upper half of the range.
            exponent = np.polyfit(np.log(values[2:]), np.log(times[2:]), 1)[0]
            cells = " | ".join(f"{one:.3f}" for one in times)
            print(f"| {name} | {cells} | {exponent:.2f} |")

    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
    for panel, axis, values in (
        (panels[0], "samples", all_samples),
        (panels[1], "latents", all_latents),
    ):
        for name, times in found[axis].items():
            (line,) = panel.plot(values, times, "o-", ms=4, label=name)
            straight = times[2] * np.array(values) / values[2]
            panel.plot(values, straight, ":", color=line.get_color(), lw=1)
        panel.set(xscale="log", yscale="log", xlabel=axis)
        panel.set_xticks(values, [f"{value:,}" for value in values], minor=False)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("processor seconds")
    panels[0].set_title("20 latents", fontsize=10)
    panels[1].set_title("10,000 samples", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    figure.suptitle("The fast metrics, images encoded; dotted: linear", fontsize=11)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=110)
    print(f"\n{options.output}")


# --- Apart --------------------------------------------------------------------------------------


def apart(options: argparse.Namespace) -> None:
    """Encodes the same batches in this process and through a worker, in turns."""
    import torch

    from evaluator import formats, representations
    from evaluator.worker import readers

    dataset = datasets.load(options.dataset)
    path = formats.find(options.representation, allow_pickle=True)
    reading = readers.read(path)
    assert reading.fast is not None, "only TorchScript is encoded by several threads"
    order = np.random.default_rng(0).permutation(len(dataset.images))
    batches = order[: len(order) // 64 * 64].reshape(-1, 64)
    threads = len(os.sched_getaffinity(0))

    def images_per_second(pool: ThreadPoolExecutor, encode: Callable[..., np.ndarray]) -> float:
        def one(batch: np.ndarray) -> np.ndarray:
            return encode(dataset.images[batch], dataset.white)

        start = time.perf_counter()
        for _ in pool.map(one, batches):
            pass
        return float(batches.size / (time.perf_counter() - start))

    began = time.perf_counter()
    with representations.start(path) as process:
        representation = representations.read(process, GroundTruth(dataset))
        print(f"ready after {time.perf_counter() - began:.1f} s, tried on a few batches")
        assert representation.encode_pixels is not None
        ratios = []
        here = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        with here, ThreadPoolExecutor(threads) as there:
            for _ in range(options.repeats):
                inside = images_per_second(here, reading.fast)
                outside = images_per_second(there, representation.encode_pixels)
                ratios.append(outside / inside)
                print(f"in process {inside:,.0f} images/s, apart {outside:,.0f}")
    print(f"apart at {np.median(ratios):.2f} of the speed in process")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_subparsers(required=True, metavar="MODE")

    mode = modes.add_parser("compare", help="seconds, memory and scores of both engines")
    mode.set_defaults(run=compare)
    mode.add_argument("representation", type=Path, help="the representation folder")
    mode.add_argument("--dataset", default="mpi3d_mini", choices=datasets.NAMES)
    mode.add_argument("--metrics", nargs="+", default=[], help="all five by default")
    mode.add_argument("--seed", type=int, default=0)
    mode.add_argument("--gin", action="append", default=[], help="such as 'dci.num_train = 100'")
    mode.add_argument("--json", type=Path, help="writes everything that was measured there")

    mode = modes.add_parser("agree", help="DCI and SAP on the same codes, of many representations")
    mode.set_defaults(run=agree)
    mode.add_argument("representation", type=Path, nargs="*", help="folders of trained ones")
    mode.add_argument("--dataset", default="mpi3d_mini", choices=datasets.NAMES)
    mode.add_argument("--num-train", type=int, default=10_000)
    mode.add_argument("--num-test", type=int, default=5_000)
    mode.add_argument("--seed", type=int, default=0, help="of the draws and of our ties")
    mode.add_argument("--reference-seeds", type=int, default=1, help="DCI fits of scikit-learn")
    mode.add_argument("--jobs", type=int, default=2, help="processes that fit scikit-learn")
    mode.add_argument("--cache", type=Path, default=ROOT / "scratch" / "agreement.jsonl")

    mode = modes.add_parser("scale", help="processor time over samples and latents")
    mode.set_defaults(run=scale)
    mode.add_argument("--repeats", type=int, default=3, help="the fastest of so many counts")
    mode.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "images" / "evaluation_scaling.png"
    )

    mode = modes.add_parser("apart", help="images a second in process and in one of its own")
    mode.set_defaults(run=apart)
    mode.add_argument("representation", type=Path, help="the representation folder")
    mode.add_argument("--dataset", default="mpi3d_mini", choices=datasets.NAMES)
    mode.add_argument("--repeats", type=int, default=5)

    options = parser.parse_args()
    # Before PyTorch is imported, here and in the processes to come; see evaluator/__main__.py.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options.run(options)


if __name__ == "__main__":
    main()
