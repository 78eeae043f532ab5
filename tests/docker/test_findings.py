"""What the portal would refuse, in files of the test's and in the real image."""

import json
from pathlib import Path

import findings
import pytest

CHALLENGE = "aicrowd-neurips-2019-disentanglement-challenge"
RIGHT = {"challenge_id": CHALLENGE, "grader_id": CHALLENGE, "authors": ["somebody"], "gpu": True}


class NoImages:
    """An engine without the image: only the files are looked at."""

    def get(self, tag):
        from docker.errors import ImageNotFound

        raise ImageNotFound(tag)

    @property
    def images(self):
        return self


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    (tmp_path / "aicrowd.json").write_text(json.dumps(RIGHT))
    (tmp_path / "run.sh").write_text("#!/usr/bin/env bash\n")
    (tmp_path / "run.sh").chmod(0o755)
    return tmp_path


def wrong(folder: Path) -> list[str]:
    """The findings about the files, each with its remedy, without the one about the image."""
    found = list(findings.check(NoImages(), "absent", None, None, folder))
    assert found[-1].what == "there is no image"
    return [f"{one.what}: {one.remedy}" for one in found[:-1] if one.remedy]


def test_a_right_submission_has_no_findings(submission):
    assert wrong(submission) == []


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("challenge_id", "other", f'set it to "{CHALLENGE}"'),
        ("grader_id", None, f'set it to "{CHALLENGE}"'),
        ("authors", [], "list your AIcrowd user names"),
        ("authors", ["your-aicrowd-username"], "list your AIcrowd user names"),
        ("authors", "somebody", "list your AIcrowd user names"),
        ("gpu", "yes", "set it to true or false"),
    ],
)
def test_a_wrong_entry_of_aicrowd_json(submission, key, value, remedy):
    (submission / "aicrowd.json").write_text(json.dumps(RIGHT | {key: value}))
    (finding,) = wrong(submission)
    assert key in finding
    assert finding.endswith(remedy)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_aicrowd_json(submission, content):
    (submission / "aicrowd.json").write_text(content)
    assert any(one.startswith("aicrowd.json") for one in wrong(submission))


def test_a_run_sh_that_is_not_executable(submission):
    (submission / "run.sh").chmod(0o644)
    assert wrong(submission) == ["run.sh isn't executable: chmod +x run.sh"]


def test_a_run_sh_with_the_line_ends_of_windows(submission):
    (submission / "run.sh").write_bytes(b"#!/bin/bash\r\necho\r\n")
    (finding,) = wrong(submission)
    assert "end its lines as on Linux" in finding


def test_a_run_sh_that_is_missing(submission):
    (submission / "run.sh").unlink()
    assert wrong(submission) == ["there is no run.sh: add it: the portal starts it"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env", b"PASSWORD=x"),
        ("deploy/id_rsa", b"x"),
        ("notes.txt", b"-----BEGIN OPENSSH PRIVATE" + b" KEY-----\n"),
        ("settings.py", b"token = 'ghp_" + b"a" * 36 + b"'"),
        ("settings.py", b"key = 'AKIA" + b"A" * 16 + b"'"),
    ],
)
def test_a_secret_that_would_go_into_the_image(submission, name, content):
    (submission / name).parent.mkdir(exist_ok=True)
    (submission / name).write_bytes(content)
    (finding,) = wrong(submission)
    assert finding.startswith(f"{name} goes into the image and looks like a secret")


@pytest.mark.parametrize(("name", "size"), [("mpi3d_toy.npz", 10), ("blob", 11 * 2**20)])
def test_a_data_set_that_would_go_into_the_image(submission, name, size):
    (submission / name).write_bytes(bytes(size))
    (finding,) = wrong(submission)
    assert finding.startswith(f"{name} (")
    assert finding.endswith("name it in .dockerignore")


def test_what_dockerignore_names_does_not_count(submission):
    (submission / "mpi3d_toy.npz").write_bytes(b"x")
    (submission / ".dockerignore").write_text("# data\n*.npz\n")
    assert wrong(submission) == []


@pytest.mark.slow
def test_the_real_image_and_a_representation_that_loads(portal, write_torchscript, pixels):
    answer = portal("check", write_torchscript(pixels))
    assert answer.code == 2  # aicrowd.json names nobody yet
    lines = answer.output.splitlines()
    assert "ok     the image's user is aicrowd" in lines
    assert "ok     the uid of aicrowd in the image is 1001" in lines
    assert "ok     the image's entry point is /home/aicrowd/run.sh" in lines
    assert (
        "ok     without a GPU, pytorch_model.pt gives [1, 8] for a batch of 1 and [64, 8] for a "
        "batch of 64"
    ) in lines
    assert any(line.startswith("WRONG  aicrowd.json: authors is") for line in lines)
    assert not any(line.startswith("WRONG") and "image has" in line for line in lines)


@pytest.mark.slow
def test_a_representation_that_fails_on_one_image(portal, write_hostile_dill):
    answer = portal("check", write_hostile_dill("raise ValueError('no GPU')"))
    assert answer.code == 2
    (line,) = (line for line in answer.output.splitlines() if "representation" in line)
    assert line.startswith("WRONG  the representation fails without a GPU: ")
    assert line.endswith("no GPU: export it anew")
