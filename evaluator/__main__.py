"""The command `python -m evaluator`."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from evaluator import engines, evaluation, formats, metrics, outputs, representations, shown
from evaluator.arguments import training_record
from evaluator.given_files import score_files
from evaluator.ground_truth import GroundTruth
from evaluator.representations import Representation
from evaluator.tracked import log_scores
from evaluator.watching import watched
from submission import datasets
from submission.command_line import Parser, parse_count, parse_seed, run_command_line
from submission.datasets import Dataset
from submission.errors import UserError, what_is_missing
from submission.runs.folder import RunFolder
from submission.runs.record import dataset_of

_EXAMPLES = """\
examples:
  # score what ./run.sh has trained, on the data set it was trained with
  python -m evaluator scratch/shared/experiment_name/representation

  # score somebody's submission as the challenge did
  python -m evaluator their/representation --dataset mpi3d_toy --output scratch/theirs

  # two of the metrics, one of them on fewer samples, with another seed
  python -m evaluator their/representation --dataset mpi3d_toy --metrics mig dci \\
      --gin 'dci.num_train = 1000' --seed 1 --output scratch/theirs

  # is a difference noise? five seeds, and an interval
  python -m evaluator their/representation --dataset mpi3d_toy --repeats 5

  # codes and factors that you have already: no model, no images
  python -m evaluator --codes codes.npy --factors factors.npy

  # by disentanglement_lib's own functions, for comparison: 10 to 20 minutes
  python -m evaluator their/representation --dataset mpi3d_toy --engine reference
"""


def main() -> None:
    """Scores a representation folder; the arguments come from the command line.

    Raises:
        UserError: A mistake in the arguments, the data set or the representation.
    """
    arguments = _parse(_folder_first(sys.argv[1:]))
    chosen = metrics.choose(
        [name for word in arguments.metrics for name in word.replace(",", " ").split()]
    )
    metrics.check_bindings(arguments.gin, chosen)
    engines.check_installed(arguments.engine, chosen)
    seeds = evaluation.seeds_from(arguments.seed, arguments.repeats)
    if arguments.codes is not None:
        if arguments.output is not None:
            outputs.check_writable(arguments.output)
        score_files(
            arguments.codes,
            arguments.factors,
            chosen,
            seeds=seeds,
            preset=arguments.preset,
            bindings=arguments.gin,
            output=arguments.output,
        )
        return
    model = formats.find(arguments.representation, arguments.allow_pickle)
    # Links unresolved: the run's folder is the parent of the one that the user named.
    folder = model.parent
    run = training_record(folder)
    name = arguments.dataset or dataset_of(run)
    if name is None:
        raise UserError(
            f"--dataset is missing, and no training/run.json stands beside {folder} to tell it"
        )
    output = arguments.output or outputs.folder_for(folder)
    outputs.check_writable(output)

    # Paths and warnings may hold square brackets, which are markup to rich.
    console = Console(markup=False, highlight=False)
    with representations.start(model, trust=arguments.trust, worker=arguments.worker) as process:
        # Meanwhile the model is read.
        dataset = datasets.load(name)
        scored = None
        if not dataset.no_scores:
            representation = representations.read(process, GroundTruth(dataset))
            console.print(
                f"{representation.path}: {representation.latents} latents, on "
                f"{len(dataset.images)} images of {dataset.name}, preset {arguments.preset}, "
                f"seed {arguments.seed}",
                soft_wrap=True,
            )
            scored = _score(arguments, seeds, chosen, dataset, representation, output, console)
    if scored is None:
        console.print(f"no scores: {dataset.no_scores}", soft_wrap=True)
        if (output / outputs.SCORES).exists():
            outputs.set_aside(output)
    if not arguments.no_report:
        _report(console, output, dataset)
    if scored is not None:
        log_scores(
            scored,
            output,
            RunFolder(folder.absolute().parent),
            lambda line: console.print(f"warning: {line}", soft_wrap=True),
        )


def _score(
    arguments: argparse.Namespace,
    seeds: range,
    chosen: Sequence[metrics.Metric],
    dataset: Dataset,
    representation: Representation,
    output: Path,
    console: Console,
) -> evaluation.Evaluation:
    """Scores, shows and writes; what is finished when a signal comes is written too."""
    stopped = written = None
    try:
        with watched(console, representation) as (counted, begin):
            begin("encoding")
            found, score = evaluation.begin(
                dataset,
                counted,
                chosen,
                seeds=seeds,
                engine=arguments.engine,
                preset=arguments.preset,
                bindings=arguments.gin,
            )
            for warning in found.warnings:
                console.print(f"warning: {warning}", soft_wrap=True)
            for metric in chosen:
                shown.show_sizes(console, metric, arguments.preset, arguments.gin)
                begin(metric.name)
                found.add(metric, score, partial(shown.show_result, console, first_seed=seeds[0]))
                if written is None:
                    written = evaluation.Written(found, output, chosen)
                    shown.show_set_aside(console, output, written)
                written.add(metric)
    except KeyboardInterrupt as error:
        if written is None or not written.names:
            raise
        # What is finished is kept: the metrics that have their scores for all seeds.
        stopped = error
    assert written is not None
    path = written.finish()
    console.print(written.evaluation.table())
    console.print(f"scores: {path}", soft_wrap=True)
    if stopped is not None:
        raise stopped
    return written.evaluation


def _report(console: Console, output: Path, dataset: Dataset) -> None:
    lacking = what_is_missing("a report", "jinja2", "matplotlib")
    if lacking is None:
        from evaluator.report.page import write_report

        console.print(f"report: {write_report(output, dataset)}", soft_wrap=True)
    else:
        console.print(f"no report: {lacking}", soft_wrap=True)


def _folder_first(arguments: list[str]) -> list[str]:
    """Moves a path that ends the list of `--metrics`, and would pass for one, to the front."""
    if "--metrics" not in arguments:
        return arguments
    start = stop = arguments.index("--metrics") + 1
    while stop < len(arguments) and not arguments[stop].startswith("-"):
        stop += 1
    last = arguments[stop - 1]
    if stop == start or last in metrics.ALL_METRICS or not Path(last).exists():
        return arguments
    return [last, *arguments[: stop - 1], *arguments[stop:]]


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m evaluator",
        description="Scores a representation as the NeurIPS 2019 Disentanglement Challenge did.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "representation",
        type=Path,
        nargs="?",
        metavar="REPRESENTATION_DIR",
        help=f"holds {', '.join(formats.FORMATS)}, of which the first counts; or is one",
    )
    parser.add_argument(
        "--dataset",
        help="a data set's name, or the path of your own (docs/datasets.md); default: what "
        "../training/run.json says",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        action="extend",
        default=[],
        metavar="METRIC",
        help=f"which of {', '.join(metrics.METRICS)} (default: these), "
        f"{', '.join(metrics.FURTHER_METRICS)}",
    )
    parser.add_argument(
        "--seed",
        type=parse_seed,
        default=0,
        help="of every generator (default: the challenge's, 0)",
    )
    parser.add_argument(
        "--repeats",
        type=parse_count,
        default=1,
        metavar="N",
        help="score with N seeds, from --seed on, and show a 95%% interval of their mean; the "
        "score itself stays that of --seed (default: 1)",
    )
    parser.add_argument(
        "--engine",
        choices=engines.ENGINES,
        default="fast",
        help="fast: each image is encoded once, and the same scores are computed in seconds "
        "(default); reference: disentanglement_lib's own functions",
    )
    parser.add_argument(
        "--preset",
        choices=metrics.PRESETS,
        default="challenge",
        help="sample sizes: the challenge's, which are the paper's too (default), or quick, "
        "smaller ones, for --engine reference",
    )
    parser.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="'NAME = VALUE'",
        help="overrides a setting of gin/evaluation/, such as 'dci.num_train = 100'; repeatable",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where metrics/, scores.json and report.html go (default: REPRESENTATION_DIR/.. if it "
        "is called representation, else REPRESENTATION_DIR); scores there of the same "
        "representation, computed likewise, stay",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read python_model.dill, a pickled nn.Module or a torch.export archive, which can run "
        "any code; it runs apart, where it reaches neither files nor the network",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run a model whose code names files though nothing on this machine can confine it",
    )
    parser.add_argument(
        "--worker",
        type=Path,
        metavar="SOCKET",
        help="wait there for `python -m evaluator.worker REPRESENTATION --connect SOCKET`, as "
        "docker/portal.py starts it, instead of starting a process for the model",
    )
    parser.add_argument("--no-report", action="store_true", help="don't write report.html")
    parser.add_argument(
        "--codes",
        type=Path,
        metavar="FILE",
        help="score the table [n, latents] in FILE (.npy, .npz, .csv, .parquet) instead of a "
        "representation; scores are written where --output says, if it does",
    )
    parser.add_argument(
        "--factors",
        type=Path,
        metavar="FILE",
        help="the table [n, factors] of the same rows; an .npz of --codes may hold it too",
    )
    parsed = parser.parse_args(arguments)
    if parsed.codes is None and parsed.factors is not None:
        parser.error("--factors goes with --codes")
    if parsed.codes is None and parsed.representation is None:
        parser.error("the following arguments are required: REPRESENTATION_DIR")
    of_a_model = {
        "REPRESENTATION_DIR": parsed.representation,
        "--dataset": parsed.dataset,
        "--engine reference": parsed.engine != "fast",
        "--allow-pickle": parsed.allow_pickle,
        "--trust": parsed.trust,
        "--worker": parsed.worker,
    }
    for name, given in of_a_model.items():
        if parsed.codes is not None and given:
            parser.error(f"{name} doesn't go with --codes, which are scored without a model")
    return parsed


if __name__ == "__main__":
    run_command_line(main)
