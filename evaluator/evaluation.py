"""Metrics times seeds make an `Evaluation`, which can be read, shown and written to a folder."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from evaluator import engines, formats, in_memory, outputs, representations, scores
from evaluator.ground_truth import GroundTruth
from evaluator.intervals import Interval, t_interval
from evaluator.memorisation import Memorisation
from evaluator.metrics import PRESETS, Metric, Result, check_bindings, choose
from evaluator.metrics.metric import Values
from evaluator.representations import Representation
from evaluator.rows import sampled_images
from evaluator.watching import watched
from submission.datasets import Dataset
from submission.errors import UserError, nearest
from submission.values import LAST_SEED

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Evaluation:
    """The results of one representation, of each metric for every seed.

    Attributes:
        dataset: What it was scored on.
        seeds: Of the draws; the scores are those of the first.
        origin: What decides on the scores beside the metrics' own settings; see `scores.origin`.
        warnings: What there is to say beside the metrics' own warnings.
        encoding_seconds: How long encoding took, before the metrics.
        memorisation: Whether codes outlast invisible noise; None where that was not tried.
        bindings: Settings that win over the preset's, such as `dci.num_train = 100`.
        results: By the metric's name, one for each seed.
    """

    dataset: Dataset = field(repr=False)
    seeds: range
    origin: dict[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = field(repr=False)
    encoding_seconds: float = 0.0
    memorisation: Memorisation | None = None
    bindings: tuple[str, ...] = ()
    results: dict[str, list[Result]] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, float]:
        """The first seed's, by the metric's name."""
        return {name: of_seeds[0].score for name, of_seeds in self.results.items()}

    @property
    def sum(self) -> float | None:
        """Of the challenge's metrics for the first seed; None where there is none."""
        return scores.challenge_sum(self.of_first_seed())

    @property
    def protocol(self) -> str:
        """`challenge`, or `sampled` where the rows cover no grid of the factors."""
        return str(self.origin.get("protocol", "challenge"))

    @property
    def values(self) -> dict[str, Values]:
        """All that disentanglement_lib returns for the first seed, by the metric's name."""
        return {name: of_seeds[0].values for name, of_seeds in self.results.items()}

    @property
    def intervals(self) -> dict[str, Interval]:
        """Over the seeds, of each metric and of the `sum`; empty where there is one seed."""
        if len(self.seeds) < 2:
            return {}
        intervals = {
            name: t_interval([one.score for one in of_seeds])
            for name, of_seeds in self.results.items()
        }
        by_seed = zip(*self.results.values(), strict=True)
        sums = [total for one in by_seed if (total := scores.challenge_sum(one)) is not None]
        return intervals | ({"sum": t_interval(sums)} if sums else {})

    def of_first_seed(self) -> list[Result]:
        """Its results, in the order in which the metrics were scored."""
        return [of_seeds[0] for of_seeds in self.results.values()]

    def add(
        self,
        metric: Metric,
        score: engines.Score,
        tell: Callable[[Result, int], None] = lambda result, seed: None,
    ) -> None:
        """Scores a metric for every seed; an error or an interruption leaves all as it was.

        Args:
            metric: The metric.
            score: What `engines.prepare` gave.
            tell: Called with each result and its seed, as soon as it is there.

        Raises:
            UserError: See `metrics.reference.run`.
        """
        added = []
        for index, seed in enumerate(self.seeds):
            done = [
                of_seeds[index]
                for of_seeds in self.results.values()
                if of_seeds[index].metric.computation == metric.computation
            ]
            if done:
                result = done[0].read_as(metric)
            else:
                result = score(metric, seed, self.origin["preset"], self.bindings)
            added.append(result)
            tell(result, seed)
        self.results[metric.name] = added

    def table(self) -> Table:
        """The scores, their sum and intervals, for a terminal (`rich.print` shows it)."""
        title = f"{self.dataset.name}, preset {self.origin['preset']}, seed {self.seeds[0]}"
        if self.protocol != "challenge":
            title += f", {self.protocol} protocol (not the challenge's)"
        return scores.table(
            self.of_first_seed(),
            title,
            self.intervals or None,
            encoding_seconds=self.encoding_seconds,
            unproven=self.origin["unproven"],
        )

    def write(self, folder: str | Path) -> Path:
        """Writes what `python -m evaluator` does but for the report.

        Earlier scores in the folder stay where one run would give both, and are set aside if not.

        Args:
            folder: Where `metrics/` and `scores.json` go; it is made if need be.

        Returns:
            The path of `scores.json`.

        Raises:
            UserError: The folder can't be written.
        """
        outputs.check_writable(Path(folder))
        chosen = [of_seeds[0].metric for of_seeds in self.results.values()]
        written = Written(self, Path(folder), chosen)
        for metric in chosen:
            written.add(metric)
        return written.finish()


class Written:
    """An evaluation on the disk, a metric after the other: what is finished outlives the rest.

    Attributes:
        set_aside: Where earlier scores are now that may not stand beside these; None where there
            are none.
        names: Of the metrics written so far.
    """

    def __init__(self, evaluation: Evaluation, folder: Path, chosen: Sequence[Metric]) -> None:
        """Makes room.

        Args:
            evaluation: Its results may still become more.
            folder: Where it goes.
            chosen: All the metrics that are meant to be scored.
        """
        self._all, self._folder = evaluation, folder
        self.names: list[str] = []
        self.set_aside: Path | None = None
        self._beside = scores.earlier(folder)
        if self._beside is not None and not scores.may_stand_together(
            self._beside, evaluation.origin, chosen, evaluation.bindings, evaluation.seeds
        ):
            self.set_aside = outputs.set_aside(folder)
            self._beside = None

    @property
    def evaluation(self) -> Evaluation:
        """What of it is written."""
        return replace(self._all, results={name: self._all.results[name] for name in self.names})

    def add(self, metric: Metric) -> None:
        """Writes the `evaluation.json` of a metric that has its results."""
        of_first_seed = self._all.results[metric.name][0]
        scores.write_evaluation(self._folder, of_first_seed, self._all.dataset, self._all.seeds[0])
        self.names.append(metric.name)

    def finish(self) -> Path:
        """Writes `scores.json` of what is written, and returns its path."""
        written = self.evaluation
        return scores.write_scores(
            self._folder,
            written.of_first_seed(),
            written.origin,
            warnings=written.warnings,
            memorisation=written.memorisation,
            encoding_seconds=written.encoding_seconds,
            intervals=written.intervals or None,
            bindings=written.bindings,
            factor_names=[
                written.dataset.factor_names[one] for one in written.dataset.scored_factors
            ],
            beside=self._beside,
        )


def seeds_from(first: int, count: int) -> range:
    """Consecutive seeds.

    Raises:
        UserError: The last one is beyond `LAST_SEED`.
    """
    last = first + count - 1
    if last > LAST_SEED:
        raise UserError(f"--repeats asks for the seed {last}: the last one is {LAST_SEED}")
    return range(first, last + 1)


def checked_seeds(seed: int, repeats: int, *, preset: str, engine: str = "fast") -> range:
    """The seeds of a call, whose other choices are known.

    Raises:
        UserError: An unknown preset or engine, or seeds that don't exist.
    """
    for word, known in ((engine, engines.ENGINES), (preset, PRESETS)):
        if word not in known:
            raise UserError(f"unknown {word!r}: {nearest(str(word), known)}")
    if not isinstance(seed, Integral) or not isinstance(repeats, Integral):
        raise UserError(f"seed and repeats are whole numbers, not {seed!r} and {repeats!r}")
    if seed < 0 or repeats < 1:
        raise UserError(f"a seed is 0 or more, and repeats 1 or more, not {seed} and {repeats}")
    return seeds_from(seed, repeats)


def begin(
    dataset: Dataset,
    representation: Representation,
    chosen: Sequence[Metric],
    *,
    seeds: range,
    engine: str,
    preset: str,
    bindings: Sequence[str] = (),
) -> tuple[Evaluation, engines.Score]:
    """Readies the engine.

    Args:
        dataset: What is scored on.
        representation: What is scored.
        chosen: What will be scored.
        seeds: Of the draws.
        engine: One of `engines.ENGINES`.
        preset: One of `metrics.PRESETS`.
        bindings: Checked bindings.

    Returns:
        An evaluation that has no results yet, and what its `add` scores with.

    Raises:
        UserError: The representation fails on a batch, or the data set tells no factors or, for
            the reference engine, no grid of them.
    """
    if dataset.no_scores:
        raise UserError(dataset.no_scores)
    protocol = {}
    if dataset.is_grid:
        ready = engines.prepare(
            engine,
            GroundTruth(dataset),
            representation,
            chosen,
            seeds=seeds,
            preset=preset,
            bindings=bindings,
        )
    elif engine == "fast":
        dataset, ready = sampled_images(dataset, representation)
        protocol = {"protocol": "sampled"}
    else:
        raise UserError(f"{dataset.name} is no grid of its factors: only --engine fast scores it")
    origin = scores.origin(
        dataset,
        representation,
        seed=seeds[0],
        engine=ready.engine,
        preset=preset,
        unproven=ready.unproven,
    )
    origin |= protocol
    evaluation = Evaluation(
        dataset,
        seeds,
        origin,
        ready.warnings,
        ready.seconds,
        ready.memorisation,
        tuple(bindings),
    )
    return evaluation, ready.score


def score(
    model: "str | Path | torch.nn.Module | Callable[[Any], Any]",
    dataset: str | Path | Dataset,
    *,
    metrics: Sequence[str] = (),
    seed: int = 0,
    repeats: int = 1,
    engine: str = "fast",
    preset: str = "challenge",
    gin: Sequence[str] = (),
    allow_pickle: bool = False,
    trust: bool = False,
    device: str | None = None,
    layout: str = "NCHW",
    dtype: str | None = None,
    output: int | str | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> Evaluation:
    """Scores a model as `python -m evaluator` does, and to the same bits.

    The reference engine, and metrics that have no fast form, reseed the generators of Python, numpy
    and PyTorch, and clear gin's configuration.

    Args:
        model: A representation folder or file; or an `nn.Module` from float32 images [n, c, h, w]
            in [0, 1] to codes [n, latents], which is scored in `eval()` mode on the device that it
            is on, outside of any `torch.autocast`, and handed back in its own mode; or a function
            of such images, which gets them as a numpy array and, if it refuses that, as a PyTorch
            tensor on the CPU.
        dataset: A data set, the name of one in the folder of data sets, or the path of one's own.
        metrics: Names from `evaluator.metrics.ALL_METRICS`; none means the challenge's five.
        seed: Of every generator; the challenge's is 0.
        repeats: How many seeds, from `seed` on; from two on there are `intervals`.
        engine: `fast`, or `reference`: disentanglement_lib's own functions.
        preset: Sample sizes: `challenge`, `paper` (the same) or `quick`.
        gin: Settings that win over the preset's, such as `dci.num_train = 100`.
        allow_pickle: Whether a file that can run any code when it is read is acceptable. Such code
            runs in a process of its own that can't reach files or the network.
        trust: Whether a file may run where nothing confines that process, though it names files.
        device: Where a module is scored, such as `cuda`; by default where it is.
        layout: Of the images that a module or function gets: `NCHW` or `NHWC`.
        dtype: Of these images, by name, such as `float64`; by default that of a module's weights,
            else float32.
        output: Which part of a module's or function's answer is the codes: the index of a tuple,
            such as 0 of (mean, log-variance), or the key of a dictionary.
        batch_size: How many images are encoded at a time; 64 are the command line's.
        progress: Whether a bar shows what is done, in a terminal or a notebook.

    Returns:
        The evaluation. `.scores`, `.values` and `.intervals` are dictionaries by metric, `.table()`
        shows them, and `.write(folder)` writes the files of the command line.

    Raises:
        UserError: A mistake in the arguments, the data set or the model, in one line.
    """
    from submission import datasets

    chosen = choose(metrics)
    check_bindings(gin, chosen)
    seeds = checked_seeds(seed, repeats, preset=preset, engine=engine)
    engines.check_installed(engine, chosen)
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise UserError(f"batch_size is {batch_size!r}: give 1 or more")
    call = in_memory.Call(layout, dtype, output)
    if isinstance(model, str | Path):
        if call != in_memory.Call() or device is not None:
            raise UserError(
                "device, layout, dtype and output are for modules and functions: a file says itself"
            )
        model = formats.find(Path(model), allow_pickle)
    elif isinstance(model, type) or not callable(model):
        what = (
            f"the class {model.__name__}"
            if isinstance(model, type)
            else f"a {type(model).__name__}"
        )
        raise UserError(
            f"model is {what}: give a folder, a module or a function of images; "
            "evaluator.score_codes scores codes"
        )
    if isinstance(dataset, str | Path):
        dataset = datasets.load(str(dataset))
    if not isinstance(dataset, Dataset):
        raise UserError(
            f"dataset is a {type(dataset).__name__}: give a name, a path or a "
            "submission.datasets.Dataset"
        )
    # Batches are filled up, which would encode the images over and over.
    batch_size = min(batch_size, len(dataset.images))
    with (
        _opened(model, GroundTruth(dataset), trust, device, call) as opened,
        watched(Console(quiet=not progress), replace(opened, batch_size=batch_size)) as (
            representation,
            begin_with,
        ),
    ):
        begin_with("encoding")
        evaluation, compute = begin(
            dataset,
            representation,
            chosen,
            seeds=seeds,
            engine=engine,
            preset=preset,
            bindings=gin,
        )
        for metric in chosen:
            begin_with(metric.name)
            evaluation.add(metric, compute)
    return evaluation


@contextmanager
def _opened(
    model: "Path | torch.nn.Module | Callable[[Any], Any]",
    ground_truth: GroundTruth,
    trust: bool,
    device: str | None,
    call: in_memory.Call,
) -> Iterator[Representation]:
    """Readies what is scored; at the end it and PyTorch's settings are as they were."""
    if isinstance(model, Path):
        with representations.start(model, trust=trust) as process:
            yield representations.read(process, ground_truth)
        return
    # Whoever has a module has imported it, and nobody else needs it.
    torch = sys.modules.get("torch")
    with ExitStack() as stack:
        stack.enter_context(in_memory.repeatable_kernels())
        if torch is not None and isinstance(model, torch.nn.Module):
            stack.enter_context(in_memory.in_eval_mode(model))
            stack.enter_context(in_memory.without_autocast())
            stack.enter_context(in_memory.on_device(model, device))
            yield in_memory.of_module(model, ground_truth, call)
        elif device is not None:
            raise UserError("device is for modules: a function chooses its own")
        else:
            yield in_memory.of_function(model, ground_truth, call)
