"""A study on a real Ray cluster: two nodes on this machine, one of which is lost."""

import contextlib
import json
import os
import platform
import re
import signal
from pathlib import Path

import pytest

from study.run import cluster
from submission.errors import UserError

# Ray's default takes a third of the memory. A run hands nothing on through it.
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere.invalid:6379"])
def test_an_address_where_nothing_answers_is_one_line(address):
    with pytest.raises(UserError, match=f"--cluster {address}: nothing answers there") as caught:
        cluster.check_answers(address)
    assert "ray start --head" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clients_address_is_one_line():
    with pytest.raises(UserError, match=r"ray://10\.0\.0\.1:10001 is for Ray's clients") as caught:
        cluster.check_answers("ray://10.0.0.1:10001")
    assert "10.0.0.1:6379" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_ray_the_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --requirement .*requirements-study\.txt"):
        cluster.check_answers("auto")


@pytest.mark.parametrize(
    ("nodes", "threads", "gpus", "cores"),
    [
        ([{"CPU": 4.0}, {"CPU": 2.0}], 1, 0, 1),
        ([{"CPU": 4.0}, {"CPU": 2.0}], 3, 0, 3),
        # All cores, of whichever node.
        ([{"CPU": 4.0}, {"CPU": 2.0}, {}], 0, 0, 2),
        ([{"CPU": 4.0}, {"CPU": 2.0, "GPU": 2.0}], 0, 1, 1),
        ([{"CPU": 4.0}, {"CPU": 2.0, "GPU": 2.0}], 2, 1, 2),
    ],
)
def test_a_run_asks_for_the_cores_that_its_threads_need(nodes, threads, gpus, cores):
    assert cluster._cpus(nodes, threads, gpus) == cores


def test_more_threads_than_any_node_has_cores_is_one_line():
    with pytest.raises(UserError, match=r"study\.threads is 5.* have 4 cores at most"):
        cluster._cpus([{"CPU": 4.0}, {"CPU": 2.0}], threads=5, gpus=0)


def test_a_cluster_without_cores_is_one_line():
    with pytest.raises(UserError, match="nodes have no cores"):
        cluster._cpus([{"memory": 1.0}], threads=0, gpus=0)


@pytest.fixture(scope="module")
def one_node():
    """A cluster that a second node can join, torn down whatever happens."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # One core a node: with two, Ray may give all runs of a study to the first one.
        nodes = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE)
        try:
            yield nodes
        finally:
            nodes.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("other", [{"ray_version": "2.9.3"}, {"python_version": "3.9.18"}])
def test_a_cluster_of_other_versions_is_one_line_with_both(tmp_path, one_node, study_run, other):
    """The cluster tells the versions that it was started with, which a test can have it tell."""
    import ray
    from ray._common.usage import usage_lib

    told = usage_lib.get_cluster_metadata(one_node.head_node.get_gcs_client())
    here = {"ray_version": ray.__version__, "python_version": platform.python_version()}
    assert here.items() <= told.items()

    def tell(metadata: dict) -> None:
        key, namespace = usage_lib.usage_constant.CLUSTER_METADATA_KEY, b"cluster"
        content = json.dumps(metadata).encode()
        one_node.head_node.get_gcs_client().internal_kv_put(key, content, True, namespace)

    tell(told | other)
    try:
        result = study_run(tmp_path, "--cluster", one_node.address)
    finally:
        tell(told)
    there = here | other
    assert result.returncode == 2
    assert result.stderr == (
        f"error: --cluster {one_node.address} runs Ray {there['ray_version']} on Python "
        f"{there['python_version']}, this process Ray {here['ray_version']} on Python "
        f"{here['python_version']}: all machines need the same of both\n"
    )


@pytest.mark.slow
def test_a_signal_has_the_runs_on_a_cluster_save_their_state(
    tmp_path, one_node, study_run, leftovers, wait_until, processes_at_work
):
    settings = ("study.methods = ('vae',)", "pretraining.steps = 0", "trainer.max_steps = 1000000")
    arguments = [part for setting in settings for part in ("--gin", setting)]
    process = study_run.start(tmp_path, *arguments, "--cluster", one_node.address)
    leftovers.append(process)
    wait_until(lambda: list(tmp_path.rglob("checkpoint.pt")))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert output.splitlines()[-1] == "stopped: the same command goes on from here"
    assert processes_at_work(tmp_path) == []
    (record,) = tmp_path.glob("runs/vae-*/training/run.json")
    assert json.loads(record.read_text())["status"] == "interrupted"


def descendants(ancestor: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The fields behind the name in brackets: state, parent.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [ancestor]
    for process in found:
        found += children.get(process, [])
    return found


def method_in_training(process: int) -> str | None:
    """The name of the run that a process trains, but for pre-training."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes().decode()
    except OSError:
        return None
    name = re.search(r"\0submission\0.*--name\0(\w+_vae-[^\0]+)", command)
    return name[1] if name else None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_finishes_though_a_node_is_killed_half_way(
    tmp_path, one_node, study_run, leftovers, uninterrupted, numbers, wait_until
):
    lost = one_node.add_node(**NODE)
    (raylet,) = (one.process.pid for many in lost.all_processes.values() for one in many)
    process = study_run.start(tmp_path, "--cluster", one_node.address)
    leftovers.append(process)

    def half_done_there() -> Path | None:
        """The folder of a run on the node that is to be lost, once it has a checkpoint."""
        for name in filter(None, map(method_in_training, descendants(raylet))):
            if (tmp_path / "runs" / name / "training" / "checkpoint.pt").exists():
                return tmp_path / "runs" / name
        return None

    wait_until(half_done_there)
    run = half_done_there()
    # As when its power fails: all that is on the node is gone at once.
    for one in descendants(raylet):
        os.kill(one, signal.SIGKILL)
    assert run is not None

    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    # What Ray has to say of its node is kept out of the study's lines.
    assert [line.split()[-1] for line in output.splitlines()[1:4]] == ["finished"] * 3
    assert len(output.splitlines()) == 5
    assert "raylet" in (tmp_path / "ray.log").read_text()

    # Nothing is lost: the run went on, and all numbers are those of a study on one machine.
    assert "resuming" in (run / "training.log").read_text()
    assert numbers(tmp_path) == numbers(uninterrupted)
    # Nothing is done twice: each training and each scoring came to its end once, in one folder.
    for log in tmp_path.rglob("training.log"):
        assert log.read_text().count("finished: all") == 1
    for log in tmp_path.rglob("scoring.log"):
        assert log.read_text().count("\nscores: ") == 1
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 4
