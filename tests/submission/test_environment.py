from pathlib import Path

import pytest

from submission.environment import Environment


def test_defaults_are_those_of_the_starter_kit():
    environment = Environment.read({})
    assert environment.output_path == Path("scratch/shared")
    assert environment.evaluation_name == "experiment_name"
    assert environment.data_root == Path("scratch/dataset")
    assert not environment.is_grading
    assert environment.use_cuda


def test_variables_are_read():
    environment = Environment.read(
        {
            "AICROWD_OUTPUT_PATH": "/shared",
            "AICROWD_EVALUATION_NAME": "mine",
            "AICROWD_DATASET_NAME": "mpi3d_real",
            "DISENTANGLEMENT_LIB_DATA": "/data",
            "AICROWD_IS_GRADING": "True",
            "AICROWD_CUDA": "0",
        }
    )
    assert environment == Environment(
        Path("/shared"), "mine", "mpi3d_real", Path("/data"), is_grading=True, use_cuda=False
    )


@pytest.mark.parametrize("value", ["", "0", "false", "False", "no"])
def test_a_variable_that_says_no_is_not_set(value):
    assert not Environment.read({"AICROWD_IS_GRADING": value}).is_grading


def test_relative_paths_start_at_the_root():
    assert Environment.read({"NDC_ROOT": "/home/aicrowd"}).output_path == Path(
        "/home/aicrowd/scratch/shared"
    )
