import fcntl
import json
import os
import subprocess
from pathlib import Path

import pytest

from submission.errors import UserError
from submission.runs.folder import RunFolder, check_room, exclusive, set_aside


def test_the_representation_stands_where_the_challenge_looks():
    assert RunFolder(Path("x")).model == Path("x/representation/pytorch_model.pt")


def test_a_folder_that_another_process_holds_is_refused(tmp_path):
    with (tmp_path / ".run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use"), exclusive(RunFolder(tmp_path / "run")):
            pass


def test_a_folder_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with exclusive(RunFolder(tmp_path / "run")):
            pass


def test_an_earlier_run_gets_the_first_free_number(tmp_path):
    for content in ("first", "second"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "file").write_text(content)
        set_aside(RunFolder(tmp_path / "run"))
    assert (tmp_path / "run.1" / "file").read_text() == "first"
    assert (tmp_path / "run.2" / "file").read_text() == "second"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"status": 5}', '{"status": "running"', '{"status": "finished"}', "{}"],
)
def test_a_run_that_has_ended_or_whose_record_is_broken_is_worth_keeping(tmp_path, content):
    folder = RunFolder(tmp_path / "run")
    folder.training.mkdir(parents=True)
    folder.record.write_text(content)
    assert folder.is_worth_keeping()


@pytest.mark.parametrize("status", ["running", "untrained"])
def test_a_run_that_came_no_further_than_its_first_export_is_not_worth_keeping(tmp_path, status):
    folder = RunFolder(tmp_path / "run")
    folder.training.mkdir(parents=True)
    assert not folder.is_worth_keeping()
    folder.record.write_text(json.dumps({"status": status}))
    assert not folder.is_worth_keeping()


def test_too_little_room_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"no room on the disk.*are needed"):
        check_room(RunFolder(tmp_path / "shared" / "run"), bytes_needed=2**60)
    assert not (tmp_path / "shared").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a read-only disk needs root")
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_done(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], check=True)
    try:
        with pytest.raises(UserError, match="can't be written: set AICROWD_OUTPUT_PATH"):
            check_room(RunFolder(tmp_path / "shared" / "run"), bytes_needed=1)
        with (
            pytest.raises(UserError, match=r"Read-only file system.*: set AICROWD_OUTPUT_PATH"),
            exclusive(RunFolder(tmp_path / "shared" / "run")),
        ):
            pass
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
