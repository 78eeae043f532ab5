import subprocess
import sys
import threading
from pathlib import Path

import pytest

from submission.errors import UserError
from submission.runs.locks import lock, open_lock


def opened(path: Path):
    return open_lock(path / "folder" / ".lock", path / "folder", "choose another")


def test_one_at_a_time_has_the_lock_until_it_closes_the_file(tmp_path):
    with opened(tmp_path) as first, opened(tmp_path) as second:
        assert lock(first)
        assert not lock(second)
        assert lock(first), "whoever has it has it"
        first.close()
        assert lock(second)


def test_waiting_ends_when_the_lock_is_free(tmp_path):
    with opened(tmp_path) as first, opened(tmp_path) as second:
        assert lock(first)
        outcome: list[bool] = []
        waiting = threading.Thread(target=lambda: outcome.append(lock(second.fileno(), wait=True)))
        waiting.start()
        waiting.join(0.2)
        assert not outcome
        first.close()
        waiting.join(60)
        assert outcome == [True]


def test_a_process_that_inherits_the_file_holds_the_lock_too(tmp_path):
    with opened(tmp_path) as first:
        assert lock(first)
        heir = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(first.fileno(),)
        )
    with opened(tmp_path) as second:
        assert not lock(second)
        heir.communicate(b"\n")
        assert lock(second)


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path):
    (tmp_path / "folder").touch()
    with pytest.raises(UserError, match=r"folder can't be written \(File exists\): choose another"):
        opened(tmp_path)
