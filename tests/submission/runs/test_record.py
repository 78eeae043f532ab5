import json

import pytest

from submission.errors import UserError
from submission.runs.record import read_record


def test_no_file_is_an_empty_record(tmp_path):
    assert read_record(tmp_path / "training" / "run.json") == {}


def test_an_older_versions_record_is_read(tmp_path):
    record = {"dataset": "mpi3d_mini", "kl_per_latent": [0.5, 1], "width": 1, "of_old": None}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert read_record(tmp_path / "run.json") == record


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json.*: mend or remove it"):
        read_record(tmp_path / "run.json")


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "training").touch()
    with pytest.raises(UserError, match=r"run\.json can't be read .*Not a directory"):
        read_record(tmp_path / "training" / "run.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", 5),
        ("dataset", ["mpi3d_mini"]),
        ("steps", "many"),
        ("steps", True),
        ("width", None),
        ("form", {"phases": 1}),
        ("kl_per_latent", {"0": 1.0}),
        ("kl_per_latent", [1.0, "x"]),
        ("status", {"\x1b[2J": "\n" * 1000}),
    ],
)
def test_a_field_of_another_type_is_told_in_one_short_line(tmp_path, name, value):
    (tmp_path / "run.json").write_text(json.dumps({"preset": "quick", name: value}))
    with pytest.raises(UserError, match=rf"run\.json: {name} is .*: mend or remove it$") as told:
        read_record(tmp_path / "run.json")
    assert str(told.value).isprintable()
    assert len(str(told.value)) < len(str(tmp_path)) + 200
