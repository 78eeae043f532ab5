"""A study so small that it is done in seconds, executed for real, and results that were drawn."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gin
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "study.methods = ('beta_vae', 'info_vae')",
    "study.seeds = (0,)",
    "study.metrics = ('mig',)",
    "mig.num_train = 200",
    "network.width = 0.05",
    "trainer.batch_size = 8",
    "trainer.max_steps = 400",
    "trainer.snapshot_every = 200",
    "trainer.checkpoint_every = '0.1s'",
    "pretraining.steps = 200",
)


@pytest.fixture(autouse=True)
def clear_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The settings of the small study."""
    return TINY


class Command:
    """`python -m study run` on the small study, as a user starts it."""

    def __call__(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(folder, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=240
        )

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.line(folder, *arguments),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def line(self, folder: Path, *arguments: str) -> list[str]:
        settings = [part for setting in TINY for part in ("--gin", setting)]
        command = [sys.executable, "-m", "study", "run", "--output", str(folder)]
        return [*command, *settings, *arguments]


@pytest.fixture(scope="session")
def study_run() -> Command:
    return Command()


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, study_run: Command) -> Path:
    """The folder of the small study, which nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    result = study_run(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="session")
def numbers() -> Callable[[Path], dict[str, Any]]:
    return _numbers


def _numbers(folder: Path) -> dict[str, Any]:
    """All that a report may read of a study's runs, by file: nothing in it is a time or a place."""
    import torch

    found: dict[str, Any] = {"plan": json.loads((folder / "study.json").read_text())}
    for run in sorted((folder / "runs").iterdir()):
        record = run / "training" / "run.json"
        if not record.exists():
            continue
        content = json.loads(record.read_text())
        del content["started"], content["seconds_spent"]
        found[f"{run.name}/run.json"] = content
        with (run / "training" / "history.csv").open() as file:
            rows = [{**row, "seconds": None} for row in csv.DictReader(file)]
        found[f"{run.name}/history.csv"] = rows
        for path in sorted(run.rglob("scores.json")):
            content = json.loads(path.read_text())
            found[str(path.relative_to(folder))] = content["scores"], content["metrics"]
        for path in sorted(run.rglob("*.pt")):
            weights = torch.jit.load(str(path)).state_dict()
            found[str(path.relative_to(folder))] = {
                name: tensor.tolist() for name, tensor in weights.items()
            }
    return found


@pytest.fixture(scope="session")
def processes_at_work() -> Callable[[Path], list[int]]:
    return _processes_at_work


def _processes_at_work(folder: Path) -> list[int]:
    """The trainers and evaluators whose output goes to a study's folder."""
    wanted = f"AICROWD_OUTPUT_PATH={folder}/runs".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            variables = (
                (entry / "environ").read_bytes().split(b"\0") if entry.name.isdigit() else []
            )
        except OSError:
            continue
        if wanted in variables:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], Any]], None]:
    return _wait_until


def _wait_until(holds: Callable[[], Any], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def leftovers() -> Any:
    """Collects processes that must not outlive the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class DrawnStudy:
    """Writes what `python -m study run` leaves, with scores drawn from known variances.

    A score is 0.3 + method + seed + rest, with standard deviations of 0.05, 0.02 and 0.01.
    """

    methods = ("beta_vae", "beta_tcvae", "factor_vae", "dip_vae_i", "dip_vae_ii", "info_vae")
    metrics = ("dci", "factor_vae_metric", "sap_score", "mig", "irs")
    latents = 4
    steps = 1000

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self,
        methods: Sequence[str] = methods,
        seeds: Sequence[int] = (0, 1, 2),
        variants: Sequence[str] = ("",),
        metrics: Sequence[str] = metrics,
        models: Path | None = None,
        **record: Any,
    ) -> Path:
        random = np.random.default_rng(0)
        by_method = random.normal(0, 0.05, (len(methods), len(variants), len(metrics)))
        by_seed = random.normal(0, 0.02, (len(seeds), len(metrics)))
        for seed in range(len(seeds)):
            for variant in range(len(variants)):
                for method in range(len(methods)):
                    rest = random.normal(0, 0.01, len(metrics))
                    values = 0.3 + by_method[method, variant] + by_seed[seed] + rest
                    folder = self.run(methods[method], seeds[seed], variants[variant])
                    if models is not None:
                        shutil.copytree(models, folder)
                    # The later a method stands in the list, the more latents it uses.
                    used = [1.0 if latent <= method else 0.001 for latent in range(self.latents)]
                    self.write_run(
                        methods[method],
                        seeds[seed],
                        dict(zip(metrics, values.tolist(), strict=True)),
                        variants[variant],
                        **{"posterior_mean_variance_per_latent": used} | record,
                    )
        self.write_plan(methods, seeds, variants, metrics, record.get("dataset", "mpi3d_toy"))
        return self.folder

    def write_plan(
        self,
        methods: Sequence[str],
        seeds: Sequence[int] = (0,),
        variants: Sequence[str] = ("",),
        metrics: Sequence[str] = metrics,
        dataset: str = "mpi3d_toy",
    ) -> None:
        settings = {
            "methods": methods,
            "seeds": seeds,
            "dataset": dataset,
            "preset": "quick",
            "settings": ["network.width = 0.25"],
            "variants": {variant: [] for variant in variants},
            "metrics": metrics,
            "evaluation": [],
            "threads": 1,
            "attempts": 3,
        }
        runs = [
            {
                "name": self.run(method, seed, variant).name,
                "method": method,
                "variant": variant,
                "seed": seed,
                "pretraining": False,
            }
            for seed in seeds
            for variant in variants
            for method in methods
        ]
        plan = {"study": settings, "runs": runs, "git_revision": "0123abcd"}
        self.write_json(self.folder / "study.json", plan)

    def run(self, method: str, seed: int = 0, variant: str = "") -> Path:
        name = "-".join(filter(None, (method, variant, f"seed{seed}", "0123abcd")))
        return self.folder / "runs" / name

    def write_run(
        self,
        method: str,
        seed: int,
        scores: dict[str, Any],
        variant: str = "",
        snapshots: Sequence[int] = (0, 500),
        **record: Any,
    ) -> Path:
        """A finished run; the scores of a snapshot at half of the steps are three quarters."""
        folder = self.run(method, seed, variant)
        standard = {
            "status": "finished",
            "dataset": "mpi3d_toy",
            "dataset_fingerprint": "ab",
            "steps": self.steps,
            "width": 0.25,
            "latents": self.latents,
            "kl_per_latent": [1.5, 1.0, 1.0, 3.0],
            "posterior_mean_variance_per_latent": [0.5, 0.001, 0.002, 0.9],
            "warnings": [],
        }
        self.write_json(folder / "training/run.json", standard | record)
        self.write_scores(folder, scores)
        for step in snapshots:
            share = 0.5 + 0.5 * step / self.steps
            self.write_scores(
                folder / "training/snapshots" / str(step),
                {name: share * score for name, score in scores.items()},
            )
        return folder

    def write_scores(self, folder: Path, scores: dict[str, Any]) -> None:
        provenance = {"preset": "challenge", "images": 28800}
        self.write_json(folder / "scores.json", {"scores": scores, "provenance": provenance})

    def write_json(self, path: Path, value: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))


@pytest.fixture(scope="session")
def drawn_study() -> type[DrawnStudy]:
    return DrawnStudy


@pytest.fixture
def drawn(tmp_path: Path) -> DrawnStudy:
    return DrawnStudy(tmp_path / "study")


@pytest.fixture(scope="session")
def mini_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of data sets with mpi3d_mini, rendered in seconds (354 MB) and removed."""
    from submission import datasets

    path = tmp_path_factory.mktemp("data")
    datasets.load("mpi3d_mini", path)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder and a decoder of four latents, in the places where a run has its own."""
    import torch

    class Encoder(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :, ::32, ::32].mean(dim=1).flatten(1) * 4 - 1

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
            waves = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0)) / 4
            self.basis = torch.sin(
                waves[:, :, 0, None, None] * rows + waves[:, :, 1, None, None] * columns
            )

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(torch.einsum("nl,lchw->nchw", latents, self.basis))

    folder = tmp_path_factory.mktemp("exported")
    for path, module in (
        ("representation/pytorch_model.pt", Encoder()),
        ("training/decoder.pt", Decoder()),
    ):
        (folder / path).parent.mkdir()
        torch.jit.script(module).save(str(folder / path))
    return folder
