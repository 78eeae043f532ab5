import errno
import os
import stat

import pytest

from submission.errors import UserError
from submission.runs.files import remove_leftovers, write_atomically, write_json, write_text


def test_a_file_is_written_with_its_folders(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "hello")
    assert (tmp_path / "a" / "b.txt").read_text() == "hello"


def test_others_may_read_the_file(tmp_path):
    write_text(tmp_path / "a.txt", "hello")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(file):
        file.write(b"half of the n")
        raise RuntimeError("died here")

    with pytest.raises(RuntimeError, match="died here"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    def fill(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"no room on the disk.*a\.txt"):
        write_atomically(tmp_path / "a.txt", fill)
    assert os.listdir(tmp_path) == []


def test_not_a_number_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        write_text(tmp_path / "a" / "b.txt", "hello")


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    (tmp_path / ".incomplete-x1").write_text("")
    (tmp_path / "kept.txt").write_text("")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["kept.txt"]
