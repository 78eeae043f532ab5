"""Scores an encoder while it is trained, in a loop of one's own or by Lightning.

After `pip install .`, or with `PYTHONPATH=.` in a checkout:

python examples/score_during_training.py              # a loop
python examples/score_during_training.py --lightning  # pip install pytorch-lightning
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import evaluator
from submission import datasets
from submission.datasets import Dataset

STEPS = 20
SCORE_EVERY = 10
METRICS = ("mig", "sap_score")


class Autoencoder(nn.Module):
    """The mean of the pixels in 8 by 8 fields to 6 codes, and back; any other would do."""

    def __init__(self) -> None:
        """Makes the two halves."""
        super().__init__()
        self.encoder = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(192, 6))
        self.decoder = nn.Linear(6, 192)

    def loss(self, images: Tensor) -> Tensor:
        """The squared error, of images [n, 3, 64, 64] in [0, 1]."""
        fields = nn.functional.avg_pool2d(images, 8).flatten(1)
        return nn.functional.mse_loss(self.decoder(self.encoder(images)), fields)


def scores_of(encoder: nn.Module, dataset: Dataset) -> dict[str, float]:
    """The encoder comes back in the mode that it was in."""
    return evaluator.score(encoder, dataset, metrics=METRICS).scores


def batch(dataset: Dataset, generator: torch.Generator) -> Tensor:
    """64 images [64, 3, 64, 64] in [0, 1]."""
    chosen = torch.randint(len(dataset.images), (64,), generator=generator)
    return torch.from_numpy(dataset.images[chosen.numpy()]).permute(0, 3, 1, 2) / 255


def train_in_a_loop(dataset: Dataset) -> None:
    """Prints the scores each `SCORE_EVERY` steps."""
    model, generator = Autoencoder(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(1, STEPS + 1):
        optimiser.zero_grad()
        model.loss(batch(dataset, generator)).backward()
        optimiser.step()
        if step % SCORE_EVERY == 0:
            print(f"step {step}:", scores_of(model.encoder, dataset))


def train_by_lightning(dataset: Dataset) -> None:
    """The same with a callback, whose scores go to Lightning's loggers too."""
    import pytorch_lightning as lightning

    class Scores(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            if trainer.global_step % SCORE_EVERY == 0:
                scores = scores_of(module.model.encoder, dataset)
                module.log_dict({f"score/{name}": value for name, value in scores.items()})
                print(f"step {trainer.global_step}:", scores)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Autoencoder()

        def training_step(self, images: Tensor) -> Tensor:
            return self.model.loss(images)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 1e-3)

    generator = torch.Generator().manual_seed(0)
    trainer = lightning.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        callbacks=[Scores()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    batches = [batch(dataset, generator) for _ in range(STEPS)]
    trainer.fit(Module(), DataLoader(batches, batch_size=None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lightning", action="store_true")
    torch.manual_seed(0)
    train = train_by_lightning if parser.parse_args().lightning else train_in_a_loop
    train(datasets.load("mpi3d_mini"))
