"""The command `python -m evaluator.compare`: several scored runs side by side."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from evaluator.compare import runs, tables
from evaluator.compare.differences import pairs
from submission.command_line import Parser, run_command_line
from submission.datasets import Dataset
from submission.errors import UserError, require_packages
from submission.runs.record import dataset_of

_EXAMPLES = """\
examples:
  python -m evaluator.compare scratch/shared/beta scratch/shared/factor --output compare.html

  # two entries of one participant, of which the better one counts, as on the leaderboard
  python -m evaluator.compare us=scratch/shared/one us=scratch/shared/two them=scratch/theirs

  # is a difference noise? score each run with several seeds of the draws first
  python -m evaluator scratch/shared/beta --repeats 5
"""


def main() -> None:
    """Compares; the arguments come from the command line.

    Raises:
        UserError: A mistake in the arguments, or scores that no table may rank.
    """
    arguments = _parse(sys.argv[1:])
    if len(arguments.runs) < 2:
        raise UserError("a comparison takes two runs or more")
    if arguments.output is not None:
        require_packages("a page", "jinja2", "matplotlib", "torch")
    compared = runs.read_runs(arguments.runs)
    runs.check_comparable(compared)
    comparison = tables.compare(compared, runs.shared_metrics(compared))
    if arguments.write is not None:
        print(arguments.write(comparison), end="")
    else:
        _show(comparison)
    if arguments.output is not None:
        from evaluator.compare.page import write_page

        dataset, why_none = _dataset(arguments.dataset, compared)
        write_page(comparison, dataset, why_none, arguments.output)
        print(f"page: {arguments.output}", file=sys.stderr)


def _show(comparison: tables.Comparison) -> None:
    console = Console(markup=False, highlight=False)
    first = comparison.rows[0].run.scores.provenance
    title = f"{first.get('dataset')}, preset {first.get('preset')}, engine {first.get('engine')}"
    if comparison.protocol != "challenge":
        title += f", {comparison.protocol} protocol (not the challenge's)"
    console.print(tables.for_terminal(comparison, title))
    console.print(", ".join(comparison.columns), soft_wrap=True)
    for row in comparison.rows:
        if row.run.unproven:
            console.print(f"unproven: {row.run.name}: {row.run.unproven}", soft_wrap=True)
    names = [*comparison.metrics, "sum"]
    unknown = 0
    for one, other, differences in pairs([row.run for row in comparison.rows], comparison.metrics):
        told = [
            name
            for name, difference in zip(names, differences, strict=True)
            if difference.is_beyond_noise
        ]
        if all(difference.is_beyond_noise is None for difference in differences):
            unknown += 1
            continue
        verdict = f"more than the draws' noise in {', '.join(told)}" if told else "noise alone"
        console.print(f"{one.name} and {other.name}: {verdict}", soft_wrap=True)
    if unknown:
        console.print(
            f"{unknown} of {len(comparison.rows) * (len(comparison.rows) - 1) // 2} differences "
            "can't be told from noise: score the runs with more seeds (--repeats 5)",
            soft_wrap=True,
        )


def _dataset(name: str | None, compared: list[runs.Run]) -> tuple[Dataset | None, str]:
    """The data set that the runs were scored on, and, where it can't be had, why."""
    from submission import datasets

    provenance = compared[0].scores.provenance
    told = [dataset_of(run.record) for run in compared if run.record.get("dataset_path")]
    name = name or next(iter(told), None) or provenance.get("dataset")
    try:
        dataset = datasets.load(str(name))
    except UserError as error:
        return None, str(error)
    if dataset.fingerprint() != provenance.get("dataset_fingerprint"):
        return None, f"the images of {dataset.name} here are not those that the runs were scored on"
    return dataset, ""


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m evaluator.compare",
        description="Sets scored runs side by side: metrics, ranks and sums, and which differences "
        "are more than the draws' noise. A page runs the decoders that lie in the runs' folders.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="[NAME=]RUN",
        help="a run's folder, which holds scores.json; NAME is the participant whose entry it is",
    )
    parser.add_argument(
        "--output", type=Path, metavar="HTML", help="write a page too, with traversals"
    )
    parser.add_argument("--dataset", help="for the traversals (what the runs tell)")
    forms = parser.add_mutually_exclusive_group()
    for name, write in (
        ("csv", tables.as_csv),
        ("markdown", tables.as_markdown),
        ("latex", tables.as_latex),
    ):
        forms.add_argument(
            f"--{name}",
            dest="write",
            action="store_const",
            const=write,
            help="print the table so, instead",
        )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command_line(main)
