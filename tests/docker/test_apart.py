"""Scorer and model in two containers: what the model sees, and what a killed party leaves."""

import os
import re
import signal
import time

import pytest
import torch
from torch import nn

from container import ownership

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEES = """
import os
from pathlib import Path

found = [path for path in ('/DATASET', '/SHARED') if os.path.exists(path)]
places = ['/proc/self/mountinfo']
try:
    for process in os.listdir('/proc'):
        places += [f'/proc/{process}/cmdline', f'/proc/{process}/environ']
except OSError:
    pass
for place in places:
    try:
        content = Path(place).read_text()
    except OSError:
        continue
    for word in ('/DATASET', '/SHARED', 'mpi3d', '--output', '--metrics', 'IMAGE_DIGEST'):
        if word in content:
            found.append(f'{word} in {place}')
raise ValueError(f'sees {found}')
"""


class Overwrites(nn.Module):
    """Maps the scores that are being written into its memory, and writes there."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = torch.from_file("/SHARED/scored/scores.json", True, 64, dtype=torch.uint8)
        scores.fill_(49)
        # Used, or the call would be left out as dead code.
        return images.flatten(1)[:, :4000:500] + scores[0]


class Sleeps(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        turns = 0
        while turns >= 0:
            turns = 1 - turns
        return images.flatten(1)


def test_the_model_sees_neither_data_nor_scores_nor_the_scorer(portal, write_hostile_dill):
    assert "sees []" in portal.score(write_hostile_dill(SEES)).error


def test_a_torchscript_reaches_no_scores(portal, write_torchscript):
    error = portal.score(write_torchscript(Overwrites())).error
    assert "/SHARED/scored/scores.json" in error
    assert not (portal.folder / "scored/scores.json").exists()


@pytest.fixture
def scoring(portal, write_torchscript, client):
    """A scoring whose model never answers, and its two containers, once both run."""
    folder = write_torchscript(Sleeps())
    given = ("--dataset", "mpi3d_mini", "--output", portal.folder / "scored")
    process = portal.start("score", folder, *given, "--time-limit", "100s")
    label = f"{ownership.LABEL}={ownership.owner(process.pid)}"
    containers = {}
    deadline = time.monotonic() + 60
    while len(containers) < 2:
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.1)
        for name in ("scoring", "model"):
            wanted = {"name": f"portal-{name}-", "label": label}
            for one in client.containers.list(filters=wanted):
                containers[name] = one
    yield process, containers
    process.kill()
    process.communicate()


@pytest.mark.parametrize("seconds", [0.0, 8.0])
def test_a_killed_model_is_told_in_one_line(scoring, seconds):
    process, containers = scoring
    time.sleep(seconds)
    containers["model"].kill("SIGKILL")
    killed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"error: scoring.*container.*|error: scoring: .*stopped.*", errors.strip())
    assert time.monotonic() - killed < 20


def test_a_killed_scorer_is_told_in_one_line(scoring):
    process, containers = scoring
    containers["scoring"].kill("SIGKILL")
    killed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == "error: scoring ended with exit code 137\n"
    assert time.monotonic() - killed < 20


def test_what_a_killed_portal_leaves_goes_with_the_next_start(
    scoring, portal, client, left_on_engine
):
    process, _ = scoring
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert len(left_on_engine()) == 5  # two volumes, and the keeper of one of them
    ownership.sweep(client, [portal.folder])
    assert left_on_engine() == []
    assert not list(portal.folder.glob(".incomplete-*"))
