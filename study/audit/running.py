"""Scores an audit's cases in processes side by side; each case's scores are a file of their own."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluator import udr
from study.audit.baselines import BASELINES
from study.audit.cases import UDR, Audit, Case, groups
from study.audit.families import FAMILIES
from submission.errors import UserError
from submission.runs.files import UnreadableError, read_object, write_json
from submission.runs.processes import end_with

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

# The longest first, so that the processes end together.
_LONG = ("untrained", "samples", "samples_of_noise", "with_loud_noise", "with_faint_noise")
_SECONDS_BETWEEN_LOOKS = 1.0
_UDR_IMAGES = 1_000
# A sum's order, and so its last bits, depends on how many threads share it.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Failed(Exception):
    """A process of the audit ended before its work was done."""


def run(audit: Audit, folder: Path, workers: int, tell: Callable[[int], None]) -> None:
    """Scores what is missing.

    Args:
        audit: The audit.
        folder: Where the scores go; what is there of the same audit is not scored again.
        workers: Processes at once.
        tell: Is told, now and then, how many cases are scored.

    Raises:
        Failed: A process died; the same call goes on with what is missing.
        UserError: Nothing can be written there.
    """
    missing = [group for group in groups() if not _is_done(audit, folder, group)]
    missing.sort(
        key=lambda group: (group not in _LONG, _LONG.index(group) if group in _LONG else 0)
    )
    if not missing:
        return
    os.environ.update(_ONE_THREAD)
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue[str | None] = context.SimpleQueue()
    for group in [*missing, *[None] * workers]:
        queue.put(group)
    processes = [
        context.Process(
            target=_work, args=(replace(audit), folder, queue, os.getpid()), daemon=True
        )
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    while running := [process for process in processes if process.is_alive()]:
        connection.wait([process.sentinel for process in running], _SECONDS_BETWEEN_LOOKS)
        if any(process.exitcode for process in processes):
            for process in processes:
                process.terminate()
            raise Failed
        tell(count_done(audit, folder))
    # The last to end may have died since it was looked at.
    if any(process.exitcode for process in processes):
        raise Failed


def count_done(audit: Audit, folder: Path) -> int:
    """How many cases are scored."""
    return sum(_scores(audit, folder / case.file) is not None for case in audit.all_cases())


def read(audit: Audit, folder: Path) -> pd.DataFrame:
    """The scores that are there.

    Args:
        audit: The audit.
        folder: Its scores.

    Returns:
        Columns `group`, `dial`, `seed`, `metric`, `score` (NaN where the metric has none).
    """
    rows = []
    for group in groups():
        for case in audit.cases(group):
            for metric, score in (_scores(audit, folder / case.file) or {}).items():
                rows.append((group, case.dial, case.seed, metric, score))
    frame = pd.DataFrame(rows, columns=["group", "dial", "seed", "metric", "score"])
    return frame.astype({"score": float, "dial": float})


def _work(audit: Audit, folder: Path, queue: "SimpleQueue[str | None]", parent: int) -> None:
    """Scores group after group; the work of a process."""
    end_with(parent)
    # A Ctrl-C of the terminal reaches this process too, which its parent ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while (group := queue.get()) is not None:
            _score_group(audit, folder, group)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _score_group(audit: Audit, folder: Path, group: str) -> None:
    """Scores what is missing of a group, and last how alike its seeds are."""
    probed: dict[Case, np.ndarray] = {}
    scores: dict[Case, dict[str, float | None]] = {}
    for case, grid, table in audit.tables(group):
        path = folder / case.file
        known = _scores(audit, path)
        if known is None:
            known = audit.score(case, grid, table)
            _write(audit, path, known)
        scores[case] = known
        rows = np.random.RandomState(0).randint(len(table), size=_UDR_IMAGES)
        probed[case] = table[rows].astype(np.float64)
    if _has_udr(audit, group):
        for case, agreement in _agreements(probed).items():
            if UDR not in scores[case]:
                _write(audit, folder / case.file, scores[case] | {UDR: agreement})


def _agreements(probed: dict[Case, np.ndarray]) -> dict[Case, float]:
    """UDR (Spearman) of each case among those of its dial that differ in the seed."""
    found: dict[Case, float] = {}
    for dial in dict.fromkeys(case.dial for case in probed):
        cases = [case for case in probed if case.dial == dial]
        codes = [probed[case][:, np.ptp(probed[case], axis=0) > 0] for case in cases]
        found |= dict(zip(cases, map(float, udr.rank(codes, udr.spearman).scores), strict=True))
    return found


def _is_done(audit: Audit, folder: Path, group: str) -> bool:
    scores = [_scores(audit, folder / case.file) for case in audit.cases(group)]
    return all(one is not None and (UDR in one) == _has_udr(audit, group) for one in scores)


def _has_udr(audit: Audit, group: str) -> bool:
    """It draws as ever, whatever a dial does to the settings of the metrics."""
    return UDR in audit.metrics and (group in BASELINES or FAMILIES[group].bind is None)


def _scores(audit: Audit, path: Path) -> dict[str, float | None] | None:
    """The scores of a case; None where there are none, or they are of another audit."""
    try:
        content = read_object(path)
    except (FileNotFoundError, NotADirectoryError, UnreadableError):
        return None
    scores = content.get("scores")
    whole = content.get("audit") == audit.identity and isinstance(scores, dict)
    return scores if whole else None


def _write(audit: Audit, path: Path, scores: dict[str, float | None]) -> None:
    write_json(path, {"audit": audit.identity, "scores": scores})


def default_workers() -> int:
    """One a core."""
    return len(os.sched_getaffinity(0))
