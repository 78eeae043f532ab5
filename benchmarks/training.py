"""The trainer's speed against its peers and against the machine's bound, in one run.

Steps, feeding, the six methods, the start and where the time of a step goes:

    .venv/bin/python benchmarks/training.py steps
    .venv/bin/python benchmarks/training.py feed
    .venv/bin/python benchmarks/training.py methods
    .venv/bin/python benchmarks/training.py start --dataset mpi3d_mini_full
    .venv/bin/python benchmarks/training.py profile

Whether the fast step is the plain one, over 500 steps of each method:

    .venv/bin/python benchmarks/training.py curves --width 0.25

Every case is measured in a process of its own, since what makes memory fast holds for a process;
the cases take turns, so that a slow minute of the machine hits all of them. On a busy machine,
`chrt --fifo 1` before the command (as root) keeps others off the cores.
"""

import argparse
import functools
import itertools
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from submission import datasets, objectives
from submission.datasets import Dataset
from submission.networks import VAE, Discriminator, NetworkShape
from submission.training.batches import Batches
from submission.training.execution import Execution, prepare_device
from submission.training.step import Learner, new_model

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
BATCH = 64
# Of the paper's networks, forward and backward, at a batch of 64; tests/submission/test_networks.py
# counts them. The width's square scales it.
STEP_FLOP = 41.6e9
METHODS = {
    "beta_tcvae": functools.partial(objectives.beta_tcvae, beta=2.0),
    "beta_vae": functools.partial(objectives.beta_vae, beta=2.0),
    "factor_vae": functools.partial(objectives.factor_vae, gamma=2.0),
    "dip_vae_i": functools.partial(objectives.dip_vae_i, lambda_d=10.0, lambda_od=1.0),
    "dip_vae_ii": functools.partial(objectives.dip_vae_ii, lambda_d=10.0, lambda_od=1.0),
    "info_vae": functools.partial(objectives.info_vae, lambda_=1000.0),
}
# The bars of the issue, as shares of beta-TCVAE's steps per second.
METHOD_BARS = {"factor_vae": 0.60}
OTHER_METHOD_BAR = 0.85


# --- What is measured ---------------------------------------------------------------------------


def new_learner(method: str, width: float, form: Execution) -> Learner:
    shape = NetworkShape(3, width=width)
    torch.manual_seed(0)
    discriminator = Discriminator(shape.latents) if method == "factor_vae" else None
    return Learner(new_model(shape, 0, CPU), 0, 1e-3, (0.9, 0.999), discriminator, execution=form)


def our_steps(dataset: Dataset, method: str, width: float) -> Iterator[float]:
    """The trainer's own step with its own batches."""
    prepare_device(on_gpu=False)
    learner = new_learner(method, width, Execution(phases=True))
    batches, second = (Batches(dataset, BATCH, 0, stream, CPU) for stream in (0, 1))
    step = 0
    while True:
        terms = learner.step(METHODS[method], batches(step), 0.0, lambda: second(step))  # noqa: B023
        step += 1
        yield float(terms["loss"])


class Bare:
    """PyTorch as a first script has it: eager, Adam by default, a synchronisation a step."""

    def __init__(self, method: str, width: float, channels_last: bool) -> None:
        self.objective = METHODS[method]
        shape = NetworkShape(3, width=width)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        # The very weights of the trainer's networks.
        self.model: VAE = new_model(shape, 0, CPU).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.generator = torch.Generator().manual_seed(0)
        self.discriminator = None
        if method == "factor_vae":
            torch.manual_seed(0)
            self.discriminator = Discriminator(shape.latents)
            self.discriminator_optimizer = torch.optim.Adam(
                self.discriminator.parameters(), lr=1e-4, betas=(0.5, 0.9)
            )

    def noise(self) -> Tensor:
        return torch.randn((BATCH, self.model.shape.latents), generator=self.generator)

    def step(self, images: Tensor, second: Tensor | None = None) -> float:
        images = images.contiguous(memory_format=self.layout)
        posterior, sample, logits = self.model(images, self.noise())
        reconstruction = objectives.bernoulli_reconstruction(logits, images)
        loss, _ = self.objective(
            objectives.ForwardPass(posterior, sample, reconstruction, 0.0, self.discriminator)
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.discriminator is not None and second is not None:
            with torch.no_grad():
                posterior = self.model.encoder(second.contiguous(memory_format=self.layout))
                mean, log_variance = posterior
                second_sample = mean + self.noise() * torch.exp(0.5 * log_variance)
            self.discriminator_optimizer.zero_grad()
            objectives.discriminator_loss(
                self.discriminator, sample, second_sample, self.generator
            ).backward()
            self.discriminator_optimizer.step()
        return loss.item()


def bare_steps(dataset: Dataset, method: str, width: float, channels_last: bool) -> Iterator[float]:
    """The bare step on a batch that is already there."""
    bare = Bare(method, width, channels_last)
    images = Batches(dataset, BATCH, 0, 0, CPU)(0).contiguous(memory_format=bare.layout)
    while True:
        yield bare.step(images)


def kit_loader(dataset: Dataset, workers: int) -> Iterator[Tensor]:
    """The starter kit's feed: disentanglement_lib draws one image an item, in float64."""
    # What disentanglement_lib needs to be imported today.
    import evaluator.compat  # noqa: F401  # isort: skip
    from disentanglement_lib.data.ground_truth import util
    from disentanglement_lib.data.ground_truth.mpi3d import MPI3D

    # Its reader, with this data set's images where it would have read its own file.
    reader = MPI3D.__new__(MPI3D)
    reader.images = dataset.images
    reader.factor_sizes = list(dataset.factor_sizes)
    reader.latent_factor_indices = list(range(len(dataset.factor_sizes)))
    reader.state_space = util.SplitDiscreteStateSpace(
        reader.factor_sizes, reader.latent_factor_indices
    )
    reader.factor_bases = np.prod(reader.factor_sizes) / np.cumprod(reader.factor_sizes)
    state = np.random.RandomState(0)

    class Items(torch.utils.data.Dataset[Tensor]):
        def __len__(self) -> int:
            return len(dataset.images)

        def __getitem__(self, item: int) -> Tensor:
            image = reader.sample_observations(1, random_state=state)[0]
            return torch.from_numpy(np.moveaxis(image, 2, 0)).float()

    loader = torch.utils.data.DataLoader(
        Items(), batch_size=BATCH, shuffle=True, num_workers=workers, drop_last=True
    )
    while True:
        yield from loader


def kit_steps(dataset: Dataset, method: str, width: float, workers: int) -> Iterator[float]:
    """The bare step, fed as the starter kit does."""
    bare = Bare(method, width, channels_last=False)
    for images in kit_loader(dataset, workers):
        yield bare.step(images)


def our_feed(dataset: Dataset) -> Iterator[float]:
    prepare_device(on_gpu=False)
    batches = Batches(dataset, BATCH, 0, 0, CPU)
    step = 0
    while True:
        yield float(batches(step)[0, 0, 0, 0])
        step += 1


def bytes_alone(dataset: Dataset) -> Iterator[float]:
    """The bound: a batch's uint8 pixels copied, not converted, order and memory at hand."""
    order = np.random.default_rng(0).permutation(len(dataset.images))
    pixels = np.empty((BATCH, *dataset.images.shape[1:]), np.uint8)
    for start in itertools.cycle(range(0, len(order) - BATCH + 1, BATCH)):
        # Anything but "raise" writes without a buffer between.
        np.take(dataset.images, order[start : start + BATCH], axis=0, out=pixels, mode="clip")
        yield float(pixels[0, 0, 0, 0])


def kit_feed(dataset: Dataset, workers: int) -> Iterator[float]:
    for images in kit_loader(dataset, workers):
        yield float(images[0, 0, 0, 0])


CASES: dict[str, Callable[..., Iterator[float]]] = {
    "ours": our_steps,
    "bare, channels first": functools.partial(bare_steps, channels_last=False),
    "bare, channels last": functools.partial(bare_steps, channels_last=True),
    "starter kit, 0 workers": functools.partial(kit_steps, workers=0),
    "starter kit, 2 workers": functools.partial(kit_steps, workers=2),
}
FEEDS: dict[str, Callable[..., Iterator[float]]] = {
    "ours": our_feed,
    "bytes alone": bytes_alone,
    "starter kit, 0 workers": functools.partial(kit_feed, workers=0),
    "starter kit, 2 workers": functools.partial(kit_feed, workers=2),
}


def matrix_product_rates() -> dict[str, float]:
    """FLOP/s of the largest product that `torch.mm` and oneDNN's 1x1 convolution manage."""
    rates = {"torch.mm": 0.0, "1x1 convolution (oneDNN)": 0.0}
    for size in (1024, 2048, 4096):
        one, other = torch.randn(size, size), torch.randn(size, size)
        seconds = shortest(lambda one=one, other=other: one @ other)  # type: ignore[misc]
        rates["torch.mm"] = max(rates["torch.mm"], 2 * size**3 / seconds)
    for channels in (256, 512):
        images = torch.randn(64, channels, 32, 32).to(memory_format=torch.channels_last)
        layer = torch.nn.Conv2d(channels, channels, 1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.inference_mode():
            seconds = shortest(lambda images=images, layer=layer: layer(images))  # type: ignore[misc]
        rate = 2 * 64 * 32 * 32 * channels**2 / seconds
        rates["1x1 convolution (oneDNN)"] = max(rates["1x1 convolution (oneDNN)"], rate)
    return rates


def shortest(work: Callable[[], object], times: int = 7) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


# --- Processes ----------------------------------------------------------------------------------


def case(kind: str, name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Runs one case in a fresh process and returns what it measured."""
    command = [sys.executable, "-W", "ignore", __file__, "case", f"--case={kind}/{name}"]
    for option in ("dataset", "method", "width", "seconds"):
        command.append(f"--{option}={getattr(arguments, option)}")
    environment = os.environ | {"STARTED": str(time.time()), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def run_case(arguments: argparse.Namespace) -> None:
    """The inside of one case's process."""
    kind, name = arguments.case.split("/", 1)
    if kind == "bound":
        print(json.dumps(matrix_product_rates()))
        return
    dataset = datasets.load(arguments.dataset)
    if kind == "steps":
        steps = CASES[name](dataset, arguments.method, arguments.width)
    else:
        steps = FEEDS[name](dataset)
    next(steps)
    first = time.time() - float(os.environ["STARTED"])
    for _ in range(3):
        next(steps)
    seconds: list[float] = []
    while sum(seconds) < arguments.seconds or len(seconds) < 5:
        start = time.perf_counter()
        next(steps)
        seconds.append(time.perf_counter() - start)
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "median": statistics.median(seconds),
        "mean": statistics.mean(seconds),
        "first": first,
        "peak_mib": usage,
    }
    print(json.dumps(result))


def in_turns(
    kind: str, names: list[str], arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Each case once a round, and the median of each figure over the rounds."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            found[name].append(case(kind, name, arguments))
    return {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }


# --- Commands -----------------------------------------------------------------------------------


def steps(arguments: argparse.Namespace) -> None:
    measured = in_turns("steps", list(CASES), arguments)
    rates = case("bound", "", arguments)
    ours = 1 / measured["ours"]["median"]
    print(f"{arguments.method}, width {arguments.width:g}, batch {BATCH}\n")
    print("| case | steps/s | images/s | ours is | first step after | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, one in measured.items():
        # The mean where a step may wait for its batch: 64 quick ones pay for one slow one.
        rate = 1 / one["mean" if "kit" in name else "median"]
        print(
            f"| {name} | {rate:.2f} | {rate * BATCH:.0f} | {ours / rate:.2f} times | "
            f"{one['first']:.1f} s | {one['peak_mib']:.0f} MiB |"
        )
    flop = STEP_FLOP * arguments.width**2
    print()
    for name, rate in rates.items():
        print(
            f"{name}: {rate / 1e9:.0f} GFLOP/s, so {rate / flop:.2f} steps/s at most; "
            f"ours is {ours * flop / rate:.0%} of it"
        )


def feed(arguments: argparse.Namespace) -> None:
    measured = in_turns("feed", list(FEEDS), arguments)
    ours = BATCH / measured["ours"]["mean"]
    print("| feed | images/s | ours is | first batch after |\n| --- | --- | --- | --- |")
    for name, one in measured.items():
        rate = BATCH / one["mean"]
        print(f"| {name} | {rate:.0f} | {ours / rate:.1f} times | {one['first']:.1f} s |")


def methods(arguments: argparse.Namespace) -> None:
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(arguments.rounds):
        for method in METHODS:
            changed = argparse.Namespace(**vars(arguments) | {"method": method})
            found[method].append(case("steps", "ours", changed)["median"])
    seconds = {method: statistics.median(values) for method, values in found.items()}
    print("| method | steps/s | of beta-TCVAE's | bar |\n| --- | --- | --- | --- |")
    for method, value in seconds.items():
        bar = METHOD_BARS.get(method, OTHER_METHOD_BAR)
        share = seconds["beta_tcvae"] / value
        print(f"| {method} | {1 / value:.2f} | {share:.0%} | {bar:.0%} |")


def curves(arguments: argparse.Namespace) -> None:
    """The fast step's losses against the plain one's, and what rounding alone does to that."""
    dataset = datasets.load(arguments.dataset)
    print(f"{arguments.steps} steps, width {arguments.width:g}, one seed. Largest relative")
    print("difference of the loss from the plain step's (eager, channels first), at any step:\n")
    print("| method | fast | plain, channels last | last loss: plain, fast |")
    print("| --- | --- | --- | --- |")
    for method in METHODS:
        plain = plain_curve(dataset, method, arguments, channels_last=False)
        last = plain_curve(dataset, method, arguments, channels_last=True)
        fast = fast_curve(dataset, method, arguments)
        differences = [np.abs(curve / plain - 1).max() for curve in (fast, last)]
        print(
            f"| {method} | {differences[0]:.1e} | {differences[1]:.1e} | "
            f"{plain[-1]:.3f}, {fast[-1]:.3f} |",
            flush=True,
        )


def plain_curve(
    dataset: Dataset, method: str, arguments: argparse.Namespace, channels_last: bool
) -> np.ndarray:
    bare = Bare(method, arguments.width, channels_last)
    first, second = (Batches(dataset, BATCH, 0, stream, CPU) for stream in (0, 1))
    return np.array([bare.step(first(n), second(n)) for n in range(arguments.steps)])


def fast_curve(dataset: Dataset, method: str, arguments: argparse.Namespace) -> np.ndarray:
    losses = our_steps(dataset, method, arguments.width)
    return np.array([next(losses) for _ in range(arguments.steps)])


def start(arguments: argparse.Namespace) -> None:
    """Seconds from the command to the first training step, cold and warm, through the real CLI."""
    files = sorted(datasets.load(arguments.dataset).path.parent.glob(f"{arguments.dataset}*"))  # type: ignore[union-attr]
    print("| start | first training step after | form chosen after | resident memory then |")
    print("| --- | --- | --- | --- |")
    for kind in ("cold", "warm", "warm"):
        if kind == "cold":
            for path in files:
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {kind} | {' | '.join(first_step(arguments, folder))} |", flush=True)


def first_step(arguments: argparse.Namespace, folder: str) -> list[str]:
    command = [sys.executable, "-W", "ignore", "-u", "-m", "submission", "--preset", "challenge"]
    command += ["--dataset", arguments.dataset, "--budget", "20m", "--method", arguments.method]
    for setting in ("trainer.max_steps = 3", "pretraining.steps = 0"):
        command += ["--gin", setting]
    environment = os.environ | {"AICROWD_OUTPUT_PATH": folder}
    begun = time.perf_counter()
    first = chosen = begun
    resident = 0.0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "chosen:" in line:
                chosen = time.perf_counter()
                resident = _resident_mib(process.pid)
            if re.match(r"training .* step 1/", line):
                first = time.perf_counter()
    return [f"{first - begun:.2f} s", f"{chosen - begun:.2f} s", f"{resident:.0f} MiB"]


def _resident_mib(process: int) -> float:
    return (
        int(Path(f"/proc/{process}/statm").read_text().split()[1])
        * os.sysconf("SC_PAGESIZE")
        / 2**20
    )


def profile(arguments: argparse.Namespace) -> None:
    """Where the time of a step goes, by torch.profiler, and how long it waits for its batch."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    dataset = datasets.load(arguments.dataset)
    prepare_device(on_gpu=False)
    learner = new_learner(arguments.method, arguments.width, Execution(phases=True))
    batches, second = (Batches(dataset, BATCH, 0, stream, CPU) for stream in (0, 1))
    waited, total, count = 0.0, 0.0, 30
    objective = METHODS[arguments.method]
    for step in range(count):
        begun = time.perf_counter()
        images = batches(step)
        got = time.perf_counter()
        float(learner.step(objective, images, 0.0, lambda: second(step))["loss"])  # noqa: B023
        if step >= count // 3:
            waited += got - begun
            total += time.perf_counter() - begun
    with record(activities=[ProfilerActivity.CPU]) as profiler:
        for step in range(count, count + 10):
            learner.step(objective, batches(step), 0.0, lambda: second(step))  # noqa: B023
    kinds = {
        "convolutions, backward": r"convolution_backward$",
        "convolutions, forward": r"(_convolution|mkldnn_convolution)$",
        "ReLU": r"(clamp_min_?|relu_?|threshold_backward)$",
        "reconstruction": r"(log_sigmoid|binary_cross|sigmoid|pixel_(un)?shuffle)",
        "linear layers": r"aten::(addmm|mm|linear)$",
        "Adam": r"(_fused_adam|Optimizer)",
    }
    times = dict.fromkeys([*kinds, "all else"], 0.0)
    for event in profiler.key_averages():
        found = [kind for kind, pattern in kinds.items() if re.search(pattern, event.key)]
        times[found[0] if found else "all else"] += event.self_cpu_time_total
    whole = sum(times.values())
    milliseconds = 1e3 * total / (count - count // 3)
    print(f"{arguments.method}, width {arguments.width:g}: {milliseconds:.1f} ms a step,")
    print(f"of which {waited / total:.2%} waiting for the batch.\n")
    print("| kind of operation | share of a step |\n| --- | --- |")
    for kind, value in times.items():
        print(f"| {kind} | {value / whole:.1%} |")


def main() -> None:
    commands = {f.__name__: f for f in (steps, feed, methods, curves, start, profile)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=[*commands, "case"])
    parser.add_argument("--dataset", default="mpi3d_mini")
    parser.add_argument("--method", default="beta_tcvae", choices=METHODS)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each case and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500, help="of curves")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.command == "case":
        run_case(arguments)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    commands[arguments.command](arguments)


if __name__ == "__main__":
    main()
