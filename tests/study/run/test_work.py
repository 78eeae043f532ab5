"""One run of a study, trained and scored for real by processes of its own."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from study import settings
from study.folder import Stopped, StudyFolder, sole_worker
from study.run.jobs import Job, plan
from study.run.work import execute, is_done, is_trained, never, progress
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
SHORT = ("study.methods = ('beta_vae',)", "trainer.max_steps = 30", "trainer.snapshot_every = 30")


@pytest.fixture(scope="module")
def jobs(tiny) -> list[Job]:
    """A pre-training, and a method's run of 30 steps with a snapshot at 0."""
    return plan(settings.read("quick", [*tiny, *SHORT, "pretraining.steps = 20"]))


@pytest.fixture(scope="module")
def done(jobs, tmp_path_factory) -> StudyFolder:
    folder = StudyFolder(tmp_path_factory.mktemp("study"))
    for job in jobs:
        execute(job, folder)
    return folder


@pytest.fixture
def folder(tmp_path) -> StudyFolder:
    return StudyFolder(tmp_path)


def modification_times(folder: StudyFolder) -> dict[Path, int]:
    files = (path for path in folder.runs.rglob("*") if path.suffix != ".lock")
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_run_is_trained_and_it_and_its_snapshots_are_scored(done, jobs):
    run = done.run(jobs[1].name)
    record = json.loads(run.record.read_text())
    assert record["status"] == "finished"
    assert record["steps"] == 30
    assert record["threads"] == 1
    for scored in (run.path, run.snapshots / "0"):
        scores = json.loads((scored / "scores.json").read_text())
        assert list(scores["scores"]) == ["mig"]
        assert scores["provenance"]["gin_bindings"] == ["mig.num_train = 200"]
    # The run's own scores are those of its last step.
    assert not (run.snapshots / "30" / "scores.json").exists()


def test_it_starts_from_the_weights_of_its_pre_training(done, jobs):
    pretraining, method = (done.run(job.name) for job in jobs)
    assert len(list((done.runs / "pretrained").iterdir())) == 1
    assert not json.loads(pretraining.record.read_text())["pretraining_cached"]
    assert json.loads(method.record.read_text())["pretraining_cached"]
    assert json.loads(method.record.read_text())["pretraining_steps"] == 20


def test_each_process_has_its_log_in_the_runs_folder(done, jobs):
    run = done.run(jobs[1].name)
    assert "finished: all 30 steps are done" in (run.path / "training.log").read_text()
    assert "scores:" in (run.path / "scoring.log").read_text()
    assert "scores:" in (run.snapshots / "0" / "scoring.log").read_text()


def test_finished_work_is_not_repeated(done, jobs):
    before = modification_times(done)
    for job in jobs:
        assert is_done(job, done)
        execute(job, done)
    assert modification_times(done) == before


def test_it_tells_how_far_it_is(done, jobs, folder):
    assert progress(jobs[1], folder) == "waiting"
    log = folder.run(jobs[1].name).path / "training.log"
    log.parent.mkdir(parents=True)
    log.write_text("beta_vae on mpi3d_mini\n")
    assert progress(jobs[1], folder) == "starting"
    log.write_text("training 0%  step 10/30  1h left\ntraining 1%  step 20/30  1h left\n")
    assert progress(jobs[1], folder) == "step 20/30"
    assert progress(jobs[1], done) == "scoring"


def finished_record(folder: StudyFolder, job: Job) -> Path:
    record = folder.run(job.name).record
    record.parent.mkdir(parents=True)
    record.write_text('{"status": "finished", "steps": 30}')
    return record


def test_a_run_whose_checkpoint_still_stands_has_not_come_to_its_end(jobs, folder):
    finished_record(folder, jobs[1])
    run = folder.run(jobs[1].name)
    assert is_trained(run)
    run.checkpoint.write_bytes(b"")
    assert not is_trained(run)


def test_a_damaged_record_is_one_line(jobs, folder):
    finished_record(folder, jobs[1]).write_text("{")
    with pytest.raises(UserError, match=r"run\.json can't be read .* remove .*beta_vae-seed0"):
        execute(jobs[1], folder)


@pytest.mark.parametrize("steps", ["", ', "steps": "x"', ', "steps": null'])
def test_a_record_without_a_number_of_steps_is_one_line(jobs, folder, steps):
    finished_record(folder, jobs[1]).write_text(f'{{"status": "finished"{steps}}}')
    with pytest.raises(UserError, match=r"run\.json.* steps.* remove .*beta_vae-seed0"):
        is_done(jobs[1], folder)


def test_a_record_of_more_steps_than_there_can_be_is_one_line(jobs, folder):
    finished_record(folder, jobs[1]).write_text(
        '{"status": "finished", "steps": 1' + "0" * 99 + "}"
    )
    with pytest.raises(UserError, match=r"snapshots/0/.* is missing"):
        is_done(jobs[1], folder)


@pytest.mark.parametrize("scores", [None, 3, "mig", ["mig"]])
def test_a_scores_file_without_scores_is_scored_again(done, jobs, tmp_path, scores):
    copy = StudyFolder(shutil.copytree(done.path, tmp_path / "copy"))
    assert is_done(jobs[1], copy)
    path = copy.run(jobs[1].name).path / "scores.json"
    path.write_text(json.dumps({"scores": scores}))
    assert not is_done(jobs[1], copy)


def test_a_run_without_metrics_has_nothing_to_score(jobs, folder):
    """As the trials of a search."""
    finished_record(folder, jobs[1])
    assert is_done(replace(jobs[1], metrics=(), snapshot_every=None), folder)


def test_a_missing_snapshot_is_one_line(jobs, folder):
    finished_record(folder, jobs[1])
    with pytest.raises(UserError, match=r"snapshots/0/.* is missing.* remove .*beta_vae-seed0"):
        is_done(jobs[1], folder)


def test_a_run_folder_that_is_a_file_is_one_line(jobs, folder):
    folder.runs.mkdir(parents=True)
    folder.run(jobs[0].name).path.write_text("in the way")
    with pytest.raises(UserError, match=r"run\.json can't be read .* remove .*pretraining-seed0"):
        execute(jobs[0], folder)


def test_a_mistake_that_the_trainer_tells_is_passed_on(jobs, folder):
    job = replace(jobs[0], bindings=(*jobs[0].bindings, "trainer.checkpoint_every = 'never'"))
    with pytest.raises(UserError, match=r"trainer\.checkpoint_every is 'never': give a duration"):
        execute(job, folder)


def test_a_run_is_one_workers_at_a_time(jobs, folder):
    with (
        sole_worker(folder, jobs[0].name, never),
        pytest.raises(Stopped),
        sole_worker(folder, jobs[0].name, lambda: True),
    ):
        pass


def test_it_does_not_begin_when_it_is_to_stop(jobs, folder):
    with pytest.raises(Stopped):
        execute(jobs[0], folder, stopping=lambda: True)
    assert not folder.run(jobs[0].name).path.exists()


@pytest.fixture
def endless(tiny) -> Job:
    return plan(settings.read("quick", [*tiny, *SHORT, "trainer.max_steps = 1000000"]))[1]


@pytest.mark.slow
def test_a_stopped_run_saves_its_state(endless, folder, wait_until):
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(execute, endless, folder, None, stop.is_set)
        wait_until(lambda: "step" in progress(endless, folder))
        stop.set()
        assert isinstance(outcome.exception(timeout=60), Stopped)
    run = folder.run(endless.name)
    assert json.loads(run.record.read_text())["status"] == "interrupted"
    assert run.checkpoint.exists()


@pytest.mark.slow
def test_a_runs_processes_and_its_lock_end_with_the_process_that_works_on_it(
    endless, tiny, folder, wait_until, processes_at_work
):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from study import settings\n"
        "from study.folder import StudyFolder\n"
        "from study.run.jobs import plan\n"
        "from study.run.work import execute\n"
        "execute(plan(settings.read('quick', sys.argv[2:]))[1], StudyFolder(Path(sys.argv[1])))"
    )
    bindings = [*tiny, *SHORT, "trainer.max_steps = 1000000"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path), *bindings], cwd=ROOT
    )
    try:
        wait_until(lambda: processes_at_work(folder.path))
        # The trainer holds the run too: one that outlives its worker must not get company.
        with pytest.raises(Stopped), sole_worker(folder, endless.name, lambda: True):
            pass
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not processes_at_work(folder.path))
    with sole_worker(folder, endless.name, never):
        pass
