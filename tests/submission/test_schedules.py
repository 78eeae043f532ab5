import math

import pytest
import torch

from submission.schedules import Capacity, plateau


def test_capacity_rises_linearly_from_0_to_25_over_2000_steps():
    values = [Capacity().at(step, planned_steps=200_000) for step in (0, 500, 1000, 2000, 100_000)]
    assert values == pytest.approx([0.0, 6.25, 12.5, 25.0, 25.0])


def test_capacity_of_a_short_plan_is_reached_at_the_share():
    assert Capacity(share=0.5).at(300, planned_steps=600) == pytest.approx(25.0)
    assert Capacity(share=0.5).at(150, planned_steps=600) == pytest.approx(12.5)


def test_capacity_of_a_long_plan_does_not_depend_on_the_share():
    assert Capacity(share=0.5).at(1000, planned_steps=200_000) == pytest.approx(12.5)


def learning_rates(losses: list[float], **settings: float) -> list[float]:
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule = plateau(optimizer, **settings)
    rates = []
    for loss in losses:
        schedule.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_learning_rate_falls_after_the_second_epoch_without_a_lower_loss():
    rates = learning_rates([10.0, 10.0, 10.0, 9.0, 9.5, 9.2])
    assert rates == pytest.approx([1e-3, 1e-3, 0.95e-3, 0.95e-3, 0.95e-3, 0.95**2 * 1e-3])


def test_the_smallest_decrease_of_the_loss_counts():
    assert learning_rates([10.0 - 1e-7 * epoch for epoch in range(9)])[-1] == 1e-3


def test_with_a_threshold_a_smaller_decrease_of_the_loss_does_not_count():
    losses = [1000.0, 999.95, 999.91, 999.8]
    rates = learning_rates(losses, threshold=1e-4)
    assert rates == pytest.approx([1e-3, 1e-3, 0.95e-3, 0.95e-3])


def test_a_threshold_does_not_see_a_factor_of_all_losses():
    """So the authors' sum of n - 1 losses over n - 2 acts as their mean does."""
    losses = [100.0 + 5.0 * math.sin(epoch) for epoch in range(60)]
    scaled = [loss * 7199 / 7198 for loss in losses]
    assert learning_rates(scaled, threshold=1e-4) == learning_rates(losses, threshold=1e-4)


def test_in_the_authors_13_epochs_the_learning_rate_falls_6_times_at_most():
    assert learning_rates([1.0] * 13, minimum=5e-5)[-1] == pytest.approx(0.95**6 * 1e-3)
    assert learning_rates([1.0] * 13, minimum=1e-3)[-1] == 1e-3


def test_learning_rate_stays_above_its_minimum():
    assert learning_rates([1.0] * 400)[-1] == pytest.approx(1e-4)
