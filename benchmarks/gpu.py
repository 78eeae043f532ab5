"""Whether training is right and fast on this GPU: one command, under 8 minutes.

    python benchmarks/gpu.py

A bare machine needs no lock and no run.sh; Python, PyTorch and these wheels are enough:

    pip install torch numpy numba scipy gin-config==0.4.0 rich h5py pillow redis dill tensorboardX \
        tqdm

What is compiled needs gcc or clang and Python's headers too, and is left out without a compiler.

It compares one pass of every method in every form with the CPU's, measures each form's speed and
that of encoding beside the card's own matrix products, counts the host's synchronisations inside a
step, scores the codes of 460,800 images, and trains six methods for up to a minute each. The
tables are printed and written to gpu.md, all figures to gpu.json, part by part. The exit code is 1
if something is wrong.

`--tiny` does the same on a CPU with small networks, to test this file: it skips what is compiled,
and trains one method for three steps.
"""

import argparse
import csv
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

STARTED = time.monotonic()  # before what takes long to import

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import evaluator  # noqa: E402
from submission import datasets  # noqa: E402
from submission.configuration import configure  # noqa: E402
from submission.datasets import Dataset  # noqa: E402
from submission.environment import Environment  # noqa: E402
from submission.networks import NetworkShape  # noqa: E402
from submission.training.batches import Batches, load_resident  # noqa: E402
from submission.training.checks import (  # noqa: E402
    drawn_images,
    errors,
    first_gradient,
    tolerance,
)
from submission.training.execution import Execution, prepare_device, use_tf32  # noqa: E402
from submission.training.recipe import Recipe  # noqa: E402
from submission.training.step import Learner, new_model  # noqa: E402

TRAINED = ("beta_vae", "beta_tcvae", "factor_vae", "dip_vae_i", "dip_vae_ii", "info_vae")
METHODS = (*TRAINED, "vae")
# Of each training at most and at least, and of all that is done.
SECONDS_OF_RUN, LEAST_OF_RUN, SECONDS_IN_ALL = 60.0, 20.0, 460.0
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Form:
    """A way to compute a step, and the memory layout of its images and weights."""

    execution: Execution
    channels_last: bool = True

    def __str__(self) -> str:
        return f"{self.execution}{'' if self.channels_last else ', channels first'}"


PLAIN = Form(Execution())


def forms(on_gpu: bool, compiled: bool) -> list[Form]:
    """From the plainest on."""
    found = [
        Form(Execution(), channels_last=False),
        PLAIN,
        Form(Execution(phases=True)),
        Form(Execution(phases=True, bfloat16=True, tf32=on_gpu)),
    ]
    if on_gpu:
        found.append(Form(Execution(phases=True, tf32=True)))
    if compiled:
        found.append(Form(Execution(phases=True, compiled=True, cuda_graphs=on_gpu, tf32=on_gpu)))
    return found


@dataclass(frozen=True)
class Sizes:
    """How much is computed."""

    width: float
    batch: int
    steps: int
    images: int
    encoded: int
    matrix: int
    grid: tuple[int, ...]


FULL = Sizes(
    width=1.0,
    batch=64,
    steps=200,
    images=10_000,
    encoded=1024,
    matrix=8192,
    grid=(4, 4, 2, 3, 3, 40, 40),
)
TINY = Sizes(
    width=0.125, batch=8, steps=5, images=64, encoded=32, matrix=256, grid=(4, 4, 2, 3, 3, 4, 4)
)


def random_images(count: int) -> Dataset:
    """Blots of 8 x 8 pixels: noise from pixel to pixel would leave nothing to learn."""
    blots = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    images = blots.repeat(8, axis=1).repeat(8, axis=2)
    return Dataset("blots", images, ("image",), (count,), (0,), None, 255, None, None)


def new_learner(
    method: str, form: Form, device: torch.device, sizes: Sizes
) -> tuple[Learner, Recipe]:
    configure(method, "challenge", [])
    prepare_device(device.type == "cuda")
    torch._dynamo.reset()
    recipe, shape = Recipe(), NetworkShape(3, width=sizes.width)
    model = new_model(shape, 0, device)
    if not form.channels_last:
        model = model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    torch.manual_seed(0)
    discriminator = recipe.discriminator(shape.latents).to(device) if recipe.discriminator else None
    learner = Learner(model, 0, 1e-4, (0.9, 0.999), discriminator, execution=form.execution)
    return learner, recipe


# --- Is it right? -------------------------------------------------------------------------------


def correctness(device: torch.device, sizes: Sizes, compiled: bool) -> list[dict[str, Any]]:
    """Each form's relative errors against the CPU's plain pass, as a training checks them."""
    shape = NetworkShape(3, width=sizes.width)
    candidates = forms(device.type == "cuda", compiled)
    rows = []
    for method in METHODS:
        plain, recipe = new_learner(method, PLAIN, CPU, sizes)
        images = drawn_images(sizes.batch, shape, CPU)
        expected = first_gradient(plain, recipe.objective, images)
        for form in candidates:
            row: dict[str, Any] = {"method": method, "form": str(form)}
            layout = torch.channels_last if form.channels_last else torch.contiguous_format
            try:
                learner, recipe = new_learner(method, form, device, sizes)
                images = images.to(device).contiguous(memory_format=layout)
                found = first_gradient(learner, recipe.objective, images)
                row["loss"], row["gradient"] = errors(found, expected)
            except Exception as error:
                rows.append(row | {"right": False, "error": first_line(error)})
                continue
            allowed = tolerance(form.execution)
            right = row["loss"] <= allowed.loss and row["gradient"] <= allowed.gradient
            rows.append(row | {"right": right, "error": ""})
    return rows


# --- Is it fast? --------------------------------------------------------------------------------


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeat(work: Callable[[int], object], times: int) -> None:
    for number in range(times):
        work(number)


def seconds_each(work: Callable[[int], object], times: int, device: torch.device) -> float:
    """Wall clock of one of many calls, once warm, which nobody waits for in between."""
    repeat(work, 4)
    wait(device)
    start = time.perf_counter()
    repeat(work, times)
    wait(device)
    return (time.perf_counter() - start) / times


class Reads(TorchDispatchMode):
    """Counts the values that the host reads, below which a CPU's kernels may read their own."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def synchronisations(step: Callable[[int], object], device: torch.device) -> int:
    """How often three steps make the host wait: as CUDA warns of it, or as values read."""
    if device.type != "cuda":
        with Reads() as reads:
            repeat(step, 3)
        return reads.count
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            repeat(step, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(one.message) for one in caught)


def kernels(step: Callable[[int], object], device: torch.device) -> float | None:
    """What a step starts on the GPU, copies and fills included."""
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        repeat(step, 3)
        wait(device)
    return sum(e.device_type.name == "CUDA" for e in profiler.events() or []) / 3


def matrix_rates(device: torch.device, size: int) -> dict[str, float]:
    """FLOP/s of a large matrix product, in float32 and on a GPU in TF32 and bfloat16."""
    one, other = torch.randn(2, size, size, device=device)

    def rate(first: torch.Tensor, second: torch.Tensor) -> float:
        return 2 * size**3 / seconds_each(lambda _: first @ second, 10, device)

    use_tf32(False)
    rates = {"float32": rate(one, other)}
    if device.type == "cuda":
        rates["bfloat16"] = rate(one.bfloat16(), other.bfloat16())
        use_tf32(True)
        rates["TF32"] = rate(one, other)
    return rates


def step_of(
    form: Form, device: torch.device, sizes: Sizes, dataset: Dataset, resident: torch.Tensor | None
) -> Callable[[int], object]:
    """Beta-TCVAE's step in a form, with its batch."""
    learner, recipe = new_learner("beta_tcvae", form, device, sizes)
    batches = Batches(dataset, sizes.batch, 0, 0, device, resident)

    def step(number: int) -> None:
        images = batches(number)
        if not form.channels_last:
            images = images.contiguous()
        learner.step(recipe.objective, images, 5.0)

    return step


def of_each_form(
    device: torch.device,
    sizes: Sizes,
    compiled: bool,
    measure: Callable[[Callable[[int], object], dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """A row for each form, which `measure` fills by its step, or what it raised."""
    dataset = random_images(sizes.images)
    resident = load_resident(dataset, device, wanted=True)
    rows = []
    for form in forms(device.type == "cuda", compiled):
        row: dict[str, Any] = {"form": str(form), "error": ""}
        rows.append(row)
        try:
            measure(step_of(form, device, sizes, dataset, resident), row)
        except Exception as error:
            row["error"] = first_line(error)
    return rows


def speed(
    device: torch.device, sizes: Sizes, compiled: bool, rates: dict[str, float]
) -> list[dict[str, Any]]:
    """The step in each form, and its share of `matrix_rates`.

    A form's first step has found kernels and compiled code that `correctness` left.
    """
    on_gpu, flop = device.type == "cuda", 0

    def measure(step: Callable[[int], object], row: dict[str, Any]) -> None:
        nonlocal flop
        if not flop:
            # Of the plain decoder: phases are more multiplications for the same result.
            with FlopCounterMode(display=False) as counter:
                step(0)
            flop = counter.get_total_flops()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        start = time.perf_counter()
        step(0)
        wait(device)
        row["first_step_seconds"] = time.perf_counter() - start
        seconds = seconds_each(step, sizes.steps, device)
        row |= {"steps_per_second": 1 / seconds, "images_per_second": sizes.batch / seconds}
        row["MiB"] = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None
        row |= {f"of_{name}": flop / seconds / rate for name, rate in rates.items()}

    return of_each_form(device, sizes, compiled, measure)


def launches(device: torch.device, sizes: Sizes, compiled: bool) -> list[dict[str, Any]]:
    """What a step starts, and how often it makes the host wait, in each form.

    After everything that is timed, since CUDA's profiler stays attached and costs time.
    """

    def measure(step: Callable[[int], object], row: dict[str, Any]) -> None:
        # By then the epoch's order is copied, and CUDA graphs are recorded.
        repeat(step, 4)
        row["kernels"] = kernels(step, device)
        row["synchronisations"] = synchronisations(step, device)

    return of_each_form(device, sizes, compiled, measure)


def encoding(device: torch.device, sizes: Sizes) -> float:
    """Images a second that an encoder makes codes of in float32, `sizes.encoded` on the device."""
    learner, _ = new_learner("vae", PLAIN, device, sizes)
    use_tf32(False)
    images = torch.rand(sizes.encoded, 3, 64, 64, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return sizes.encoded / seconds_each(
            lambda _: learner.model.encoder(images), sizes.steps, device
        )


def scoring(sizes: Sizes, tiny: bool) -> float:
    """Seconds that the five scores of a grid's codes take on this machine's CPU."""

    def score(grid: tuple[int, ...], preset: str) -> float:
        factors = np.stack(np.unravel_index(np.arange(np.prod(grid)), grid), axis=1)
        codes = 0.1 * np.random.default_rng(0).standard_normal((len(factors), 20), np.float32)
        codes[:, : len(grid)] += factors / np.array(grid, np.float32)
        start = time.perf_counter()
        evaluator.score_codes(codes, factors, preset=preset)
        return time.perf_counter() - start

    # Once before, so that what numba compiles isn't part of it.
    first = score(TINY.grid, "quick")
    return first if tiny else score(sizes.grid, "challenge")


# --- Does it train? -----------------------------------------------------------------------------


def trainings(tiny: bool, deadline: float) -> list[dict[str, Any]]:
    """Real runs by the command line, each in the time that is left for it."""
    methods = TRAINED[:1] if tiny else TRAINED
    data_root = Environment.read().data_root.absolute()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        dataset, settings = "mpi3d_mini", list[str]()
        if tiny:
            dataset = str(output / "blots.npz")
            np.savez(dataset, images=random_images(TINY.images).images)
            settings = ["trainer.max_steps = 3", "pretraining.steps = 0", "width.candidates = ()"]
            settings += ["network.width = 0.125", "speed.measure = False"]
        else:
            # Rendered once, and not in the first one's budget.
            datasets.load(dataset, data_root)
        for number, method in enumerate(methods):
            left = (deadline - time.monotonic()) / (len(methods) - number)
            # Three steps end a tiny one, on a busy machine too.
            seconds = 3600 if tiny else round(min(SECONDS_OF_RUN, left))
            row: dict[str, Any] = {"method": method, "seconds": seconds, "error": ""}
            rows.append(row)
            if seconds < LEAST_OF_RUN:
                row["error"] = "no time is left"
                continue
            command = [sys.executable, "-W", "ignore", "-m", "submission", "--method", method]
            command += ["--name", method, "--dataset", dataset, "--budget", f"{seconds}s"]
            command += [word for setting in settings for word in ("--gin", setting)]
            environment = os.environ | {
                "AICROWD_OUTPUT_PATH": folder,
                "DISENTANGLEMENT_LIB_DATA": str(data_root),
            }
            try:
                done = subprocess.run(
                    command,
                    cwd=ROOT,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=seconds + 60,
                )
            except subprocess.TimeoutExpired:
                row["error"] = "didn't end a minute after its budget"
                continue
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
                row["error"] = lines[-1]
                continue
            training = output / method / "training"
            record = json.loads((training / "run.json").read_text())
            with (training / "history.csv").open() as file:
                history = list(csv.DictReader(file))
            if not history:
                row["error"] = record["message"]
                continue
            row |= {name: record[name] for name in ("status", "device", "form", "width", "steps")}
            row["pretraining_steps"] = record["pretraining_steps"]
            row["first_step_after"] = float(history[0]["seconds"])
            row["first_loss"] = float(history[0]["loss"])
            row["last_reconstruction"] = float(history[-1]["reconstruction"])
    return rows


# --- What was found -----------------------------------------------------------------------------


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def cell(value: object) -> str:
    if not isinstance(value, float):
        return "-" if value is None or value == "" else str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table with a column for every key."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[name.replace("_", " ") for name in columns], ["---"] * len(columns)]
    lines += [[cell(row.get(name)) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_form(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The largest errors of each form over all methods."""
    found = []
    for form in dict.fromkeys(row["form"] for row in rows):
        those = [row for row in rows if row["form"] == form]
        largest = {
            name: max((row[name] for row in those if name in row), default=None)
            for name in ("loss", "gradient")
        }
        wrong = ", ".join(row["method"] for row in those if not row["right"]) or "none"
        errors = "; ".join(dict.fromkeys(row["error"] for row in those if row["error"]))
        found.append({"form": form} | largest | {"wrong": wrong, "error": errors})
    return found


def report(found: dict[str, Any]) -> tuple[str, bool]:
    """The tables in Markdown of the parts that are there, and whether anything is wrong."""
    parts, wrong = [found["machine"]], bool(found["errors"])
    if "correctness" in found:
        checked = by_form(found["correctness"])
        wrong |= any(row["wrong"] != "none" for row in checked)
        parts += [
            "One pass of all seven methods: largest relative error of the loss, and of the "
            "gradient of any weight, against the CPU's plain pass.",
            table(checked),
        ]
    if "speed" in found:
        wrong |= any(row["error"] for row in found["speed"])
        rates = found["matrix_flop_per_second"].items()
        parts += [
            "beta_tcvae's step: `of` is the share of the card's own large matrix product ("
            + ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in rates)
            + "); a first step finds the kernels and the compiled code of the pass above.",
            table(found["speed"]),
        ]
    if "launches" in found:
        wrong |= any(row["error"] or row["synchronisations"] for row in found["launches"])
        parts += [
            "Kernels of one step, copies and fills included, and synchronisations of three:",
            table(found["launches"]),
        ]
    if "encoded_images_per_second" in found:
        parts.append(
            f"Encoding in float32, {found['sizes']['encoded']:,} images at a time that lie on the "
            f"device: {found['encoded_images_per_second']:,.0f} images/s."
        )
    if "scoring_seconds" in found:
        parts.append(
            f"The five scores of {found['scored_images']:,} images: "
            f"{found['scoring_seconds']:.1f} s on the CPU."
        )
    if "trainings" in found:
        trained = found["trainings"]
        wrong |= any(row["error"] or row["status"] != "finished" for row in trained)
        parts += [
            "Trainings by the command line:",
            table([{k: v for k, v in row.items() if k != "form"} for row in trained]),
        ]
    parts += [f"{name} failed: {error}" for name, error in found["errors"].items()]
    parts.append("Something is wrong." if wrong else "All is right.")
    return "\n\n".join(parts) + "\n", wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="on a CPU, to test this file")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of gpu.md and gpu.json")
    arguments = parser.parse_args()
    if not arguments.tiny and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU here: give --tiny, which runs on the CPU")
    arguments.out.mkdir(parents=True, exist_ok=True)
    # Triton builds its launchers with one.
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    sizes = TINY if arguments.tiny else FULL
    compiled = bool(compiler) and not arguments.tiny
    device = CPU if arguments.tiny else torch.device("cuda")
    card = platform.machine() if arguments.tiny else torch.cuda.get_device_name(device)
    machine = f"{card}, {os.cpu_count()} cores, torch {torch.__version__}"
    if not compiled:
        machine += ", nothing compiled" + ("" if compiler else ": there is no compiler")
    rates = matrix_rates(device, sizes.matrix)
    found: dict[str, Any] = {
        "machine": machine,
        "sizes": asdict(sizes),
        "matrix_flop_per_second": rates,
        "scored_images": math.prod(sizes.grid),
        "errors": {},
    }
    parts: dict[str, Callable[[], object]] = {
        "correctness": lambda: correctness(device, sizes, compiled),
        "speed": lambda: speed(device, sizes, compiled, rates),
        "encoded_images_per_second": lambda: encoding(device, sizes),
        "launches": lambda: launches(device, sizes, compiled),
        "scoring_seconds": lambda: scoring(sizes, arguments.tiny),
        "trainings": lambda: trainings(arguments.tiny, STARTED + SECONDS_IN_ALL),
    }
    for name, measure in parts.items():
        try:
            found[name] = measure()
        except Exception as error:
            # What was found before is worth as much as ever.
            found["errors"][name] = first_line(error)
        (arguments.out / "gpu.json").write_text(json.dumps(found, indent=1))
    text, wrong = report(found)
    (arguments.out / "gpu.md").write_text(text)
    print(text, end="")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
