"""`python -m study run` as a user runs it: a process of its own, its output and exit code."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from study import settings
from study.folder import StudyFolder, sole_study
from study.run.jobs import plan
from study.run.work import execute
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "study", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def assert_users_mistake(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--preset", "quik"], ["did you mean quick?"]),
        (["run", "--gin", "study.seds = (1,)"], ["did you mean study.seeds?"]),
        (["run", "--workers", "0"], ["--workers", "between 1"]),
        (["runn"], ["runn", "run"]),
        ([], ["run|report|tune"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, arguments, words):
    output = ["--output", str(tmp_path / "study")] if arguments[:1] == ["run"] else []
    assert_users_mistake(run(*arguments, *output), *words)
    assert not (tmp_path / "study").exists()


def test_an_output_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "study").write_text("in the way")
    assert_users_mistake(run("run", "--output", str(tmp_path / "study")), "study", "--output")


def test_a_second_study_in_the_same_folder_is_refused(tmp_path):
    with sole_study(StudyFolder(tmp_path)):
        assert_users_mistake(run("run", "--output", str(tmp_path)), str(tmp_path), "--output")
    assert not (tmp_path / "study.json").exists()


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path):
    result = run("run", "--output", str(tmp_path), "--cluster", "127.0.0.1:9")
    assert_users_mistake(result, "--cluster 127.0.0.1:9", "ray start --head")


@pytest.mark.slow
def test_a_finished_study_says_so_and_touches_nothing(uninterrupted, study_run):
    before = modification_times(uninterrupted)
    result = study_run(uninterrupted)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("all 3 runs are finished; now: python -m study report ")
    assert modification_times(uninterrupted) == before


@pytest.mark.slow
def test_the_plan_tells_what_the_study_consists_of(uninterrupted):
    plan = json.loads((uninterrupted / "study.json").read_text())
    assert plan["study"]["methods"] == ["beta_vae", "info_vae"]
    assert plan["study"]["evaluation"] == ["mig.num_train = 200"]
    assert [(one["method"], one["seed"], one["pretraining"]) for one in plan["runs"]] == [
        ("vae", 0, True),
        ("beta_vae", 0, False),
        ("info_vae", 0, False),
    ]
    for one in plan["runs"]:
        assert (uninterrupted / "runs" / one["name"] / "training" / "run.json").exists()


def names_of(folder: Path) -> list[str]:
    return [one["name"] for one in json.loads((folder / "study.json").read_text())["runs"]]


def modification_times(folder: Path) -> dict[Path, int]:
    runs = (path for path in (folder / "runs").rglob("*") if path.suffix != ".lock")
    return {path: path.stat().st_mtime_ns for path in runs if path.is_file()}


def finished_files(folder: Path) -> dict[Path, int]:
    """The files of what came to its end: trainings and scores."""
    files = [*folder.glob("runs/*/scores.json"), *folder.rglob("snapshots/*/scores.json")]
    for record in folder.glob("runs/*/training/run.json"):
        finished = json.loads(record.read_text())["status"] == "finished"
        if finished and not (record.parent / "checkpoint.pt").exists():
            files += [record, *record.parent.rglob("*.pt")]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_at_random_moments_leads_to_the_same_report_to_the_byte(
    tmp_path, uninterrupted, study_run, leftovers, numbers, processes_at_work, wait_until
):
    """Every second time, the moment comes soon after a checkpoint: in the midst of a training."""
    moments = random.Random(0)
    finished: dict[Path, int] = {}
    for trial in range(4):
        process = study_run.start(tmp_path)
        leftovers.append(process)
        if trial % 2:
            began = time.time_ns()
            wait_until(
                lambda process=process, began=began: (
                    process.poll() is not None
                    or any(
                        path.stat().st_mtime_ns > began for path in tmp_path.rglob("checkpoint.pt")
                    )
                )
            )
            time.sleep(moments.uniform(0.0, 0.3))
        else:
            time.sleep(moments.uniform(0.5, 5.0))
        process.kill()
        process.wait()
        # Nothing that it started is left, so that the next one can begin at once.
        wait_until(lambda: not processes_at_work(tmp_path))
        assert finished.items() <= finished_files(tmp_path).items()
        finished = finished_files(tmp_path)
    result = study_run(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert finished.items() <= finished_files(tmp_path).items()
    assert any("resuming" in log.read_text() for log in tmp_path.rglob("training.log"))
    assert numbers(tmp_path) == numbers(uninterrupted)
    assert list(tmp_path.rglob(".incomplete-*")) == []
    assert report_of(tmp_path) == report_of(uninterrupted)


def report_of(folder: Path) -> dict[str, bytes]:
    result = run("report", str(folder))
    assert result.returncode == 0, result.stderr
    files = (path for path in (folder / "report").rglob("*") if path.is_file())
    content = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    assert "report/report.html" in content
    return content


@dataclass
class Interrupted:
    """A study that Ctrl-C ended, and then, gone on with, SIGTERM.

    It has another number of steps than the study that was in its folder before.
    """

    folder: Path
    before: dict[Path, int]
    plan_before: list[str]
    endings: list[tuple[int, str, list[int]]]


@pytest.fixture(scope="module")
def interrupted(
    tmp_path_factory, uninterrupted, study_run, wait_until, processes_at_work
) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted") / "study"
    shutil.copytree(uninterrupted, folder)
    result = Interrupted(folder, modification_times(folder), names_of(folder), [])

    def logs() -> list[str]:
        runs = [name for name in names_of(folder) if name not in result.plan_before]
        logs = [folder / "runs" / run / "training.log" for run in runs]
        return [log.read_text() for log in logs if log.exists()]

    for begun, number in enumerate((signal.SIGINT, signal.SIGTERM)):
        process = study_run.start(folder, "--gin", "trainer.max_steps = 1000000")
        try:
            wait_until(
                lambda begun=begun: (
                    [log.count("resuming") for log in logs() if "step" in log] == [begun] * 2
                )
            )
            process.send_signal(number)
            output, _ = process.communicate(timeout=240)
        finally:
            process.kill()
        result.endings.append((process.returncode, output, processes_at_work(folder)))
    return result


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_signal_has_the_runs_save_their_state(interrupted):
    for code, output, left in interrupted.endings:
        assert code == 1, output
        assert output.splitlines()[-1] == "stopped: the same command goes on from here"
        assert "Traceback" not in output
        assert left == []
    for name in set(names_of(interrupted.folder)) - set(interrupted.plan_before):
        training = interrupted.folder / "runs" / name / "training"
        assert json.loads((training / "run.json").read_text())["status"] == "interrupted"
        assert (training / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_changed_setting_is_a_new_run_beside_the_old_one(interrupted):
    stems = [name.rpartition("-")[0] for name in names_of(interrupted.folder)]
    assert stems == [name.rpartition("-")[0] for name in interrupted.plan_before]
    new = set(names_of(interrupted.folder)) - set(interrupted.plan_before)
    # Pre-training does not read the number of steps that comes after it.
    assert sorted(name.rpartition("-")[0] for name in new) == ["beta_vae-seed0", "info_vae-seed0"]
    assert interrupted.before.items() <= modification_times(interrupted.folder).items()


SHORT = (
    *("--gin", "pretraining.steps = 0", "--gin", "trainer.max_steps = 5"),
    *("--gin", "trainer.snapshot_every = None"),
)


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_others(tmp_path, tiny):
    study = settings.read("quick", [*tiny, *SHORT[1::2]])
    beta_vae, info_vae = (job.name for job in plan(study))
    record = tmp_path / "runs" / beta_vae / "training" / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    bindings = [part for binding in tiny for part in ("--gin", binding)]
    result = run("run", "--output", str(tmp_path), *bindings, *SHORT)
    assert result.returncode == 1, result.stderr
    assert f"{info_vae} is finished" in result.stdout
    headline, line = result.stdout.splitlines()[-2:]
    assert headline == "1 of 2 runs failed; the same command tries them again:"
    assert line.startswith(f"  {beta_vae}: {record} can't be read")
    assert result.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_one_line(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        fill = ["dd", "if=/dev/zero", f"of={tmp_path / 'hog'}", "bs=4k"]
        subprocess.run(fill, check=False, stderr=subprocess.DEVNULL)
        assert_users_mistake(run("run", "--output", str(tmp_path)), "no room on the disk")
        # A disk that fills up later: the trainer can't even say so in its log.
        (job, *_) = plan(settings.read("quick", []))
        with pytest.raises(UserError, match="no room on the disk"):
            execute(job, StudyFolder(tmp_path))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
