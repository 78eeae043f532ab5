"""Two real processes that train together, against one alone (gloo, on the CPU)."""

import csv
import functools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing

from submission import objectives, polyphase
from submission.budget import Budget
from submission.configuration import configure
from submission.datasets import Dataset
from submission.errors import UserError
from submission.networks import Discriminator, NetworkShape
from submission.runs.folder import RunFolder
from submission.training.distributed import Group
from submission.training.execution import Execution
from submission.training.plan import choose
from submission.training.setup import Request, Setup
from submission.training.step import Learner, new_model

METHODS = {
    "beta_vae": functools.partial(objectives.beta_vae, beta=2.0),
    "beta_tcvae": functools.partial(objectives.beta_tcvae, beta=2.0),
    "factor_vae": functools.partial(objectives.factor_vae, gamma=2.0),
    "dip_vae_i": functools.partial(objectives.dip_vae_i, lambda_d=10.0, lambda_od=1.0),
    "dip_vae_ii": functools.partial(objectives.dip_vae_ii, lambda_d=10.0, lambda_od=1.0),
    "info_vae": functools.partial(objectives.info_vae, lambda_=1000.0),
    "authors' factor_vae": functools.partial(objectives.factor_vae, gamma=2.0),
    "authors' info_vae": functools.partial(objectives.info_vae, lambda_=1001.0, prior_samples=100),
}
STEPS, BATCH = 12, 8


def test_more_processes_than_gpus_are_one_line(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"PyTorch sees 2 GPU.* torchrun --nproc-per-node 2"):
        Group.join(on_gpu=True)


def losses(method: str, group: Group) -> torch.Tensor:
    """Each step's loss, and the discriminator's where there is one, `[steps, 1 or 2]`."""
    discriminator = None
    if "factor_vae" in method:
        torch.manual_seed(0)
        discriminator = Discriminator(4, units=16, hidden_layers=2)
    shape = NetworkShape(3, latents=4, width=0.125)
    model = new_model(shape, 0, torch.device("cpu"))
    form = Execution(phases=True)
    learner = Learner(
        model,
        0,
        1e-3,
        (0.9, 0.999),
        discriminator,
        discriminator_first="authors" in method,
        execution=form,
        group=group,
    )
    found = []
    for step in range(STEPS):
        draw = torch.Generator().manual_seed(step)
        first, second = torch.rand((2, BATCH, 3, 64, 64), generator=draw)
        terms = learner.step(
            METHODS[method],
            group.rows(first),
            capacity=0.5 * step,
            second_images=lambda: group.rows(second),  # noqa: B023
        )
        found.append(
            [float(terms[name]) for name in ("loss", "discriminator_loss") if name in terms]
        )
    return torch.tensor(found)


def chosen_form(folder: Path, group: Group) -> tuple[str, list[str]]:
    """The form of a step, and the warnings, where the second process's polyphase form is wrong."""
    settings = ["network.width = 0.125", f"trainer.batch_size = {BATCH}", "speed.measure = False"]
    configure("beta_vae", "challenge", settings)
    images = np.zeros((16, 64, 64, 3), np.uint8)
    dataset = Dataset("black", images, ("image",), (16,), (0,), None, 255, None, None)
    device, run = torch.device("cpu"), RunFolder(folder / "run")
    setup = Setup(Request("run", "beta_vae", "challenge", dataset, run, folder, device, group))
    if not group.is_leader:
        right = polyphase.F.pixel_shuffle
        polyphase.F.pixel_shuffle = lambda *args, **kwargs: right(*args, **kwargs) + 1.0
    warnings: list[str] = []
    plan = choose(setup, Budget(3600.0, time.monotonic()), lambda _: None, warnings.append)
    return str(plan.execution), warnings


def train_together(rank: int, folder: Path) -> None:
    """The whole of one of the two processes."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": (folder / "port").read_text(),
    }
    group = Group.join(on_gpu=False)
    torch.save({method: losses(method, group) for method in METHODS}, folder / f"{rank}.pt")
    torch.save((group.broadcast(rank), group.is_leader), folder / f"agreed{rank}.pt")
    torch.save(chosen_form(folder, group), folder / f"form{rank}.pt")
    group.leave()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:

    folder = tmp_path_factory.mktemp("group")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (folder / "port").write_text(str(free.getsockname()[1]))
    multiprocessing.spawn(train_together, args=(folder,), nprocs=2)
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_have_the_loss_curve_of_one(together, method):
    alone = losses(method, Group())
    for rank in range(2):
        curve = torch.load(together / f"{rank}.pt")[method]
        torch.testing.assert_close(curve, alone, rtol=1e-4, atol=1e-4)


def test_all_take_over_what_the_first_one_says(together):
    agreed = [torch.load(together / f"agreed{rank}.pt") for rank in range(2)]
    assert agreed == [(0, True), (0, False)]


def test_a_form_that_is_wrong_in_one_process_is_dropped_by_all(together):
    chosen = [torch.load(together / f"form{rank}.pt") for rank in range(2)]
    assert chosen[0] == chosen[1]
    form, (warning,) = chosen[0]
    assert form == "plain decoder"
    assert "decoder in phases: not to be had (its loss is" in warning


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(UserError, match=r"trainer.batch_size is 9: give a multiple of the 2"):
        Group(world_size=2).share_of(9)


@pytest.mark.slow
def test_torchrun_gives_the_history_of_a_single_process(tmp_path):
    settings = ["trainer.max_steps = 20", "pretraining.steps = 10", "trainer.log_every = 5"]
    settings += ["network.width = 0.125", "width.candidates = ()", "capacity.share = None"]
    settings += ["speed.measure = False", "pretraining.share = 0.9"]
    options = [part for setting in settings for part in ("--gin", setting)]
    environment = os.environ | {"AICROWD_OUTPUT_PATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("alone", []), ("together", together)):
        command = [sys.executable, "-W", "ignore", *launcher, "-m", "submission"]
        # Another budget, so that the second doesn't take over the first one's pre-training.
        budget = {"alone": "20m", "together": "21m"}[name]
        subprocess.run(
            [*command, "--name", name, "--budget", budget, *options],
            env=environment,
            check=True,
            cwd=Path(__file__).parents[3],
        )
    alone, together_rows = (
        list(csv.DictReader((tmp_path / name / "training" / "history.csv").open()))
        for name in ("alone", "together")
    )
    assert len(alone) == len(together_rows) > 5
    for one, other in zip(alone, together_rows, strict=True):
        assert one["step"] == other["step"]
        for column in ("loss", "reconstruction", "kl"):
            assert float(one[column]) == pytest.approx(float(other[column]), rel=1e-3, abs=0.01)
