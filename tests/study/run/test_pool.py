"""How many runs a machine takes at once, and what becomes of those that fail."""

import os
import signal
import threading

import pytest
import torch

from study import settings
from study.folder import StudyFolder
from study.run.jobs import Job, plan
from study.run.pool import Pool, local_gpus, workers_that_fit
from study.run.work import RunFailed, never
from submission.errors import UserError


@pytest.fixture
def endless(tiny) -> Job:
    one = ("study.methods = ('beta_vae',)", "trainer.max_steps = 1000000")
    return plan(settings.read("quick", [*tiny, *one, "study.attempts = 2"]))[1]


@pytest.mark.parametrize(
    ("cores", "threads", "gpus", "workers"),
    [
        (8, 1, [], 8),
        (8, 3, [], 2),
        (2, 4, [], 1),
        (8, 0, [], 1),
        (8, 0, ["0", "1"], 2),
        (8, 1, ["0"], 1),
    ],
)
def test_there_is_a_run_a_gpu_or_as_many_as_the_cores_have_threads_for(
    monkeypatch, cores, threads, gpus, workers
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    assert workers_that_fit(threads, gpus) == workers


def test_gpus_have_the_names_that_a_run_can_be_given(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("AICROWD_CUDA", raising=False)
    assert local_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8932f937")
    assert local_gpus() == ["3", "GPU-8932f937"]
    monkeypatch.setenv("AICROWD_CUDA", "0")
    assert local_gpus() == []


def test_what_only_a_person_can_mend_is_not_tried_again(endless, tmp_path):
    folder = StudyFolder(tmp_path)
    record = folder.run(endless.name).record
    record.parent.mkdir(parents=True)
    record.write_text("{")
    pool = Pool(folder, 1, [], never)
    assert isinstance(pool.start(endless).exception(), UserError)
    pool.close()


@pytest.mark.slow
def test_a_run_that_dies_is_gone_on_with_until_its_attempts_are_used_up(
    endless, tmp_path, wait_until, processes_at_work
):
    folder = StudyFolder(tmp_path)
    stop = threading.Event()
    pool = Pool(folder, 1, [], stop.is_set)
    result = pool.start(endless)
    log = folder.run(endless.name).path / "training.log"
    try:
        for begun in (1, 2):
            wait_until(
                lambda begun=begun: log.exists() and log.read_text().count("training ") == begun
            )
            for process in processes_at_work(tmp_path):
                os.kill(process, signal.SIGKILL)
        error = result.exception(timeout=60)
        assert isinstance(error, RunFailed)
        assert str(error).startswith("submission was ended by SIGKILL")
        assert str(log) in str(error)
        assert "\n" not in str(error)
    finally:
        stop.set()
        pool.close()
