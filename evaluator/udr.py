"""The command `python -m evaluator.udr`: unsupervised disentanglement ranking.

Duan et al. (2020), "Unsupervised Model Selection for Variational Disentangled Representation
Learning", ask how alike the latents of models are that differ in the seed of their training only:
disentangled ones should agree up to order, sign and scale, and no label is needed to see it. The
released disentanglement_lib 1.5 lacks the metric; this follows the one in its repository, which
averages over each model's latents by itself where the paper's equation 2 averages over both.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gin
import numpy as np

from evaluator import formats, outputs, representations
from evaluator.arguments import training_record
from evaluator.ground_truth import GroundTruth
from evaluator.worker.readers import Encode
from submission import configuration
from submission.command_line import Parser, parse_seed, run_command_line
from submission.errors import UserError, require_packages
from submission.installation import GIN_FOLDER
from submission.runs.files import write_json
from submission.runs.record import dataset_of
from submission.values import Interval

GIN_FILE = GIN_FOLDER / "evaluation" / "udr.gin"

_EXAMPLES = """\
examples:
  # three runs that differ in --seed only
  python -m evaluator.udr scratch/shared/seed_{0,1,2}/representation
"""


@gin.configurable("udr")
@dataclass(frozen=True)
class Settings:
    """What `gin/evaluation/udr.gin` sets.

    Attributes:
        num_points: Images that the models are compared on.
        batch_size: Images drawn at a time, which decides on the draws.
        kl_threshold: A latent counts if its KL to the prior is above this, in nats: the paper's own
            rule, which lets more of them count than `evaluator.latents`.
        alpha: Weight of the Lasso's penalty.
    """

    num_points: Annotated[int, Interval(ge=10, le=10_000_000)] = gin.REQUIRED
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = gin.REQUIRED
    kl_threshold: Annotated[float, Interval(ge=0, le=1e9)] = gin.REQUIRED
    alpha: Annotated[float, Interval(ge=0, le=1e9)] = gin.REQUIRED


@dataclass(frozen=True)
class Ranking:
    """What one kind of similarity says of the models.

    Attributes:
        pairwise: [models, models]; row i, column j: how well the latents of model i, one each, tell
            those of model j. Zero on the diagonal.
        scores: [models], each the median over its column: the other models.
    """

    pairwise: np.ndarray
    scores: np.ndarray


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Absolute rank correlations of all pairs of latents; 0 with a constant.

    Args:
        first: [n, latents of one model].
        second: [n, latents of another].

    Returns:
        [latents of one, latents of the other], in [0, 1].

    Example:
        >>> spearman(np.array([[1.0], [2.0], [3.0]]), np.array([[9.0], [4.0], [1.0]])).round(12)
        array([[1.]])
    """
    from scipy.stats import rankdata

    ranks = [_standardised(rankdata(codes, axis=0)) for codes in (first, second)]
    return np.abs(ranks[0].T @ ranks[1]) / len(first)


def lasso(first: np.ndarray, second: np.ndarray, alpha: float) -> np.ndarray:
    """Absolute weights of the Lasso that predicts the second model's latents from the first's.

    Args:
        first: [n, latents of one model].
        second: [n, latents of another].
        alpha: Weight of the penalty.

    Returns:
        [latents of one, latents of the other].
    """
    from sklearn.linear_model import Lasso

    model = Lasso(alpha=alpha).fit(_standardised(first), _standardised(second))
    return np.abs(np.reshape(model.coef_, (second.shape[1], first.shape[1]))).T


def agreement(similarity: np.ndarray) -> float:
    """How nearly each latent of either model has one counterpart, and no second one.

    Args:
        similarity: [latents of one model, latents of another], none negative.

    Returns:
        The mean over the latents of max(r)^2 / sum(r), averaged over the two models; 0 for a latent
        without any similarity, and where a model has no latents.

    Example:
        >>> agreement(np.eye(3)), agreement(np.ones((3, 3)))
        (1.0, 0.3333333333333333)
    """
    if not similarity.size:
        return 0.0
    means = []
    for axis in (0, 1):
        total = similarity.sum(axis=axis)
        best = similarity.max(axis=axis)
        means.append(np.mean(np.divide(best**2, total, out=np.zeros_like(total), where=total > 0)))
    return float(np.mean(means))


def rank(
    codes: Sequence[np.ndarray], similarity: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Ranking:
    """Compares every model with every other.

    Args:
        codes: [n, latents] of each model, on the same images; only latents that count.
        similarity: `spearman`, or `lasso` with its penalty.

    Returns:
        The ranking.
    """
    pairwise = np.zeros((len(codes), len(codes)))
    for i, first in enumerate(codes):
        for j, second in enumerate(codes):
            if i != j and first.size and second.size:
                pairwise[i, j] = agreement(similarity(first, second))
    others = ~np.eye(len(codes), dtype=bool)
    scores = [np.median(pairwise[others[:, j], j]) for j in range(len(codes))]
    return Ranking(pairwise, np.array(scores))


def draw_codes(
    ground_truth: GroundTruth,
    encoders: Sequence[Encode],
    settings: Settings,
    seed: int,
) -> list[np.ndarray]:
    """Encodes the same images with every model.

    Args:
        ground_truth: The data set.
        encoders: One for each model.
        settings: How many images, and in which batches.
        seed: Of the draws.

    Returns:
        float64 [num_points, latents] of each model.

    Raises:
        UserError: A model fails.
    """
    random_state = np.random.RandomState(seed)
    batches: list[list[np.ndarray]] = [[] for _ in encoders]
    for _ in range(settings.num_points // settings.batch_size):
        images = ground_truth.sample_observations(settings.batch_size, random_state)
        for parts, encode in zip(batches, encoders, strict=True):
            parts.append(encode(images))
    return [np.concatenate(parts).astype(np.float64) for parts in batches]


def informative(record: Mapping[str, Any], codes: np.ndarray, threshold: float) -> np.ndarray:
    """Which latents count.

    Args:
        record: The training's record, empty if there is none.
        codes: [n, latents].
        threshold: Of the KL to the prior, in nats.

    Returns:
        Bool [latents]: whether the recorded KL is above the threshold; without a record, whether
        the latent is no constant.
    """
    recorded = record.get("kl_per_latent")
    if isinstance(recorded, list) and len(recorded) == codes.shape[1]:
        return np.array(recorded) > threshold
    return np.ptp(codes, axis=0) > 0


def main() -> None:
    """Ranks runs; the arguments come from the command line.

    Raises:
        UserError: A mistake in the arguments, the data set or a representation.
    """
    arguments = _parse(sys.argv[1:])
    if len(arguments.representations) < 2:
        raise UserError("UDR compares models: name two representation folders or more")
    require_packages("UDR", "sklearn")
    settings = _settings(arguments.gin)
    if arguments.output is not None:
        outputs.check_writable(arguments.output)
    found = [formats.find(given, arguments.allow_pickle) for given in arguments.representations]
    folders = [path.parent for path in found]
    records = [training_record(folder) for folder in folders]
    named = {name for record in records if (name := dataset_of(record)) is not None}
    if arguments.dataset is None and len(named) != 1:
        told = f"the runs name {', '.join(sorted(named))}" if named else "no run.json names one"
        raise UserError(f"--dataset is missing, and {told}")

    from rich.console import Console
    from rich.table import Table

    from submission import datasets

    console = Console(markup=False, highlight=False)
    ground_truth = GroundTruth(datasets.load(arguments.dataset or named.pop()))
    with ExitStack() as stack:
        started = [
            stack.enter_context(representations.start(path, trust=arguments.trust, parallel=False))
            for path in found
        ]
        models = [representations.read(process, ground_truth) for process in started]
        codes = draw_codes(ground_truth, [one.encode for one in models], settings, arguments.seed)
    for folder, record in zip(folders, records, strict=True):
        if "kl_per_latent" not in record:
            console.print(
                f"warning: no training/run.json beside {folder} tells the KL of its latents: all "
                "that are no constants count",
                soft_wrap=True,
            )
    counted = [
        one[:, informative(record, one, settings.kl_threshold)]
        for one, record in zip(codes, records, strict=True)
    ]
    rankings = {
        "lasso": rank(counted, lambda first, second: lasso(first, second, settings.alpha)),
        "spearman": rank(counted, spearman),
    }

    table = Table(title=f"UDR on {ground_truth.dataset.name}, seed {arguments.seed}")
    for column in ("representation", "latents that count", *rankings):
        table.add_column(column, justify="left" if column == "representation" else "right")
    for row, (folder, one) in enumerate(zip(folders, counted, strict=True)):
        scores = [f"{ranking.scores[row]:.4f}" for ranking in rankings.values()]
        table.add_row(str(folder), f"{one.shape[1]} of {codes[row].shape[1]}", *scores)
    console.print(table)
    if arguments.output is not None:
        path = arguments.output / "udr.json"
        write_json(
            path,
            {
                "representations": [str(folder) for folder in folders],
                "dataset": ground_truth.dataset.name,
                "seed": arguments.seed,
                "settings": vars(settings),
                "latents": [one.shape[1] for one in counted],
                **{
                    name: {
                        "scores": ranking.scores.tolist(),
                        "pairwise": ranking.pairwise.tolist(),
                    }
                    for name, ranking in rankings.items()
                },
            },
        )
        console.print(f"scores: {path}", soft_wrap=True)


def _standardised(columns: np.ndarray) -> np.ndarray:
    """Of mean 0 and deviation 1; a constant becomes 0."""
    centred = columns - columns.mean(axis=0)
    deviation = centred.std(axis=0)
    constant = np.ptp(columns, axis=0) == 0
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m evaluator.udr",
        description="Ranks models that differ in the seed of their training by how alike they are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "representations",
        type=Path,
        nargs="+",
        metavar="REPRESENTATION_DIR",
        help="two or more, in the formats that python -m evaluator takes",
    )
    parser.add_argument("--dataset", help="default: what the runs' ../training/run.json say")
    parser.add_argument("--seed", type=parse_seed, default=0, help="of the draws (default: 0)")
    parser.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="'NAME = VALUE'",
        help="overrides a setting of gin/evaluation/udr.gin; repeatable",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where udr.json goes, if at all")
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read python_model.dill or a pickled nn.Module, which can run any code; it runs "
        "apart, where it reaches neither files nor the network",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run a model whose code names files though nothing on this machine can confine it",
    )
    return parser.parse_args(arguments)


def _settings(bindings: Sequence[str]) -> Settings:
    gin.clear_config()
    configuration.apply(GIN_FILE.read_text(), "gin/evaluation/udr.gin")
    for binding in bindings:
        configuration.apply(binding, f"--gin {binding!r}")
    settings = Settings()
    gin.clear_config()
    if settings.num_points % settings.batch_size:
        raise UserError(
            f"udr.num_points = {settings.num_points} must be a multiple of "
            f"udr.batch_size = {settings.batch_size}"
        )
    return settings


if __name__ == "__main__":
    run_command_line(main)
