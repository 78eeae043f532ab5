"""The command `python -m evaluator.report`: draws a run's report again, from its folder."""

import argparse
import sys
from pathlib import Path

from evaluator.arguments import check_is_run, dataset_of_run, training_record
from evaluator.report.page import write_report
from submission.command_line import Parser, run_command_line


def main() -> None:
    """Draws the report; the arguments come from the command line.

    Raises:
        UserError: A mistake in the arguments, or a page that can't be written.
    """
    arguments = _parse(sys.argv[1:])
    run = arguments.run
    check_is_run(run)
    record = training_record(run / "representation")
    page = write_report(run, dataset_of_run(run, arguments.dataset, record), arguments.output)
    print(f"report: {page}")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m evaluator.report",
        description="Draws a run's report again from what its folder holds. The decoder that lies "
        "there is run: draw the reports of strangers' runs in the container (docker/portal.py).",
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="holds training/, scores.json")
    parser.add_argument("--dataset", help="(what training/run.json says)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="(RUN_DIR/report.html)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command_line(main)
