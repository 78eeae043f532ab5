"""Each objective against an independent float64 computation in numpy, or a closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from submission import objectives
from submission.networks import Discriminator, Posterior
from submission.objectives import ForwardPass

BATCH, LATENTS = 16, 5


def gaussians(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, log-variances and samples of a batch of posteriors, `[BATCH, LATENTS]` each."""
    generator = np.random.default_rng(seed)
    mean = generator.normal(size=(BATCH, LATENTS))
    log_variance = generator.normal(-1.0, 0.5, size=(BATCH, LATENTS))
    noise = generator.normal(size=(BATCH, LATENTS))
    return mean, log_variance, mean + noise * np.exp(0.5 * log_variance)


def forward_pass(capacity: float = 3.0, discriminator=None) -> ForwardPass:
    mean, log_variance, sample = (torch.from_numpy(value) for value in gaussians())
    reconstruction = torch.tensor(123.0, dtype=torch.float64)
    return ForwardPass(
        Posterior(mean, log_variance), sample, reconstruction, capacity, discriminator
    )


def numpy_kl() -> np.ndarray:
    """KL to the prior of each image and latent, from numpy alone."""
    mean, log_variance, _ = gaussians()
    return -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance))


def numpy_distance(capacity: float) -> float:
    return float(np.mean(np.abs(numpy_kl().sum(axis=1) - capacity)))


def test_bernoulli_reconstruction_is_the_negative_log_likelihood_of_the_pixels():
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(4, 3, 8, 8))
    logits = generator.normal(scale=4.0, size=images.shape)
    p = 1 / (1 + np.exp(-logits))
    expected = -np.sum(images * np.log(p) + (1 - images) * np.log(1 - p)) / len(images)
    actual = objectives.bernoulli_reconstruction(torch.from_numpy(logits), torch.from_numpy(images))
    assert float(actual) == pytest.approx(expected, rel=1e-12)


def test_kl_to_the_prior_equals_numerical_integration():
    mean, log_variance = 0.7, -1.3
    q = stats.norm(mean, math.exp(0.5 * log_variance))
    expected, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), -12, 12, epsabs=1e-12
    )
    tensors = (torch.tensor([[value]], dtype=torch.float64) for value in (mean, log_variance))
    assert objectives.kl_to_prior(Posterior(*tensors)).item() == pytest.approx(expected, rel=1e-9)


def test_capacity_distance_is_the_mean_absolute_deviation_of_each_image():
    forward = forward_pass()
    actual = objectives.capacity_distance(forward)
    assert float(actual) == pytest.approx(numpy_distance(3.0), rel=1e-12)


def test_the_authors_capacity_distance_is_the_deviation_of_the_batchs_mean():
    forward = replace(forward_pass(3.0), capacity_of_mean=True)
    expected = abs(numpy_kl().sum(axis=1).mean() - 3.0)
    assert float(objectives.capacity_distance(forward)) == pytest.approx(expected, rel=1e-12)
    assert expected < numpy_distance(3.0) - 0.1
    # Below (or above) every image's KL the two are one.
    below = replace(forward_pass(0.5), capacity_of_mean=True)
    assert float(objectives.capacity_distance(below)) == pytest.approx(numpy_distance(0.5))


def test_vae_is_the_negative_elbo():
    loss, _ = objectives.vae(forward_pass())
    assert float(loss) == pytest.approx(123.0 + numpy_kl().sum(axis=1).mean(), rel=1e-12)


def test_beta_vae_weighs_the_capacity_distance_by_beta():
    loss, _ = objectives.beta_vae(forward_pass(), beta=2.5)
    assert float(loss) == pytest.approx(123.0 + 2.5 * numpy_distance(3.0), rel=1e-12)


def numpy_total_correlation() -> float:
    mean, log_variance, sample = gaussians()
    deviation = np.exp(0.5 * log_variance)
    density = stats.norm.pdf(sample[:, None], mean[None], deviation[None])
    joint = np.log(np.mean(np.prod(density, axis=2), axis=1))
    marginals = np.log(np.mean(density, axis=1)).sum(axis=1)
    return float(np.mean(joint - marginals))


def test_total_correlation_equals_the_mixture_computed_with_scipy():
    forward = forward_pass()
    actual = objectives.total_correlation(forward.sample, forward.posterior)
    assert float(actual) == pytest.approx(numpy_total_correlation(), rel=1e-9)


def test_beta_tcvae_is_equation_1():
    loss, terms = objectives.beta_tcvae(forward_pass(), beta=2.0)
    expected = 123.0 + numpy_distance(3.0) + (2.0 - 1.0) * numpy_total_correlation()
    assert float(loss) == pytest.approx(expected, rel=1e-9)
    assert float(terms["total_correlation"]) == pytest.approx(numpy_total_correlation(), rel=1e-9)


def test_the_constant_of_chen_et_al_does_not_change_the_gradient():
    """Dividing by N M, as Chen et al. do, shifts the estimate by (latents - 1) log N."""
    mean, log_variance, noise = (torch.from_numpy(value) for value in gaussians())
    mean.requires_grad_()

    def chen(images: int) -> torch.Tensor:
        normal = torch.distributions.Normal(mean[None], torch.exp(0.5 * log_variance)[None])
        sample = mean + noise * torch.exp(0.5 * log_variance)
        log_q = normal.log_prob(sample[:, None])
        joint = torch.logsumexp(log_q.sum(2), 1) - math.log(BATCH * images)
        marginals = torch.logsumexp(log_q, 1) - math.log(BATCH * images)
        return (joint - marginals.sum(1)).mean()

    sample = mean + noise * torch.exp(0.5 * log_variance)
    ours = objectives.total_correlation(sample, Posterior(mean, log_variance))
    theirs = chen(images=1000)
    assert float(theirs - ours) == pytest.approx((LATENTS - 1) * math.log(1000), rel=1e-9)
    (our_gradient,) = torch.autograd.grad(ours, mean)
    (their_gradient,) = torch.autograd.grad(theirs, mean)
    torch.testing.assert_close(our_gradient, their_gradient)


def correlated_posteriors(rho: torch.Tensor, batch: int, variance: float):
    """Posteriors whose aggregate is Gaussian: unit variances, correlation (1 - variance) rho."""
    generator = torch.Generator().manual_seed(0)
    shared, own, noise = (
        torch.randn((batch, size), generator=generator, dtype=torch.float64) for size in (1, 2, 2)
    )
    means = math.sqrt(1 - variance) * (torch.sqrt(rho) * shared + torch.sqrt(1 - rho) * own)
    posterior = Posterior(means, torch.full_like(means, math.log(variance)))
    return posterior.sample(noise), posterior


def gaussian_total_correlation(correlation: torch.Tensor) -> torch.Tensor:
    """TC of two unit Gaussians in closed form: -1/2 log(1 - correlation^2)."""
    return -0.5 * torch.log(1 - correlation**2)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_total_correlation_of_gaussians_is_the_known_one(rho):
    variance = 0.2
    rho = torch.tensor(rho, dtype=torch.float64)
    estimate = objectives.total_correlation(*correlated_posteriors(rho, 3000, variance))
    expected = gaussian_total_correlation((1 - variance) * rho)
    assert float(estimate) == pytest.approx(float(expected), abs=0.03)


def test_a_batchs_total_correlation_is_too_high_by_the_bound_where_posteriors_are_apart():
    """Independent latents, whose TC is 0, seen through posteriors a millionth as wide."""
    mean = torch.randn(64, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    posterior = Posterior(mean, torch.full_like(mean, 2 * math.log(1e-6)))
    estimate = objectives.total_correlation(mean, posterior)
    assert float(estimate) == pytest.approx(19 * math.log(64), rel=1e-3)


def test_gradient_of_the_total_correlation_of_gaussians_is_the_known_one():
    variance = 0.2
    rho = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    estimate = objectives.total_correlation(*correlated_posteriors(rho, 3000, variance))
    expected = gaussian_total_correlation((1 - variance) * rho)
    (actual_gradient,) = torch.autograd.grad(estimate, rho)
    (expected_gradient,) = torch.autograd.grad(expected, rho)
    assert float(actual_gradient) == pytest.approx(float(expected_gradient), rel=0.08)


def test_covariance_is_numpys_biased_one():
    mean, _, _ = gaussians()
    expected = np.cov(mean.T, bias=True)
    np.testing.assert_allclose(objectives.covariance(torch.from_numpy(mean)), expected, rtol=1e-12)


def numpy_dip_penalty(matrix: np.ndarray, lambda_d: float, lambda_od: float) -> float:
    off_diagonal = matrix[~np.eye(len(matrix), dtype=bool)]
    return lambda_od * np.sum(off_diagonal**2) + lambda_d * np.sum((np.diag(matrix) - 1) ** 2)


def test_dip_vae_i_penalises_the_covariance_of_the_means():
    mean, _, _ = gaussians()
    loss, _ = objectives.dip_vae_i(forward_pass(), lambda_d=10.0, lambda_od=1.5)
    penalty = numpy_dip_penalty(np.cov(mean.T, bias=True), 10.0, 1.5)
    assert float(loss) == pytest.approx(123.0 + numpy_distance(3.0) + penalty, rel=1e-12)


def test_dip_vae_ii_penalises_the_covariance_of_the_aggregate_posterior():
    """The covariance of z under the mixture is checked by drawing from it."""
    mean, log_variance, _ = gaussians()
    generator = np.random.default_rng(1)
    component = generator.integers(BATCH, size=1_000_000)
    noise = generator.normal(size=(len(component), LATENTS))
    draws = mean[component] + noise * np.exp(0.5 * log_variance[component])
    loss, terms = objectives.dip_vae_ii(forward_pass(), lambda_d=10.0, lambda_od=1.5)
    penalty = numpy_dip_penalty(np.cov(draws.T), 10.0, 1.5)
    assert float(terms["dip_penalty"]) == pytest.approx(penalty, rel=0.01)
    expected = 123.0 + numpy_distance(3.0) + float(terms["dip_penalty"])
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_the_authors_dip_vae_ii_adds_one_number_to_the_whole_covariance():
    """Of the variances of image n and latent j it is the mean of those where n = j."""
    mean, log_variance, _ = gaussians()
    number = np.mean([np.exp(log_variance[j, j]) for j in range(LATENTS)])
    loss, _ = objectives.dip_vae_ii(forward_pass(), lambda_d=10.0, lambda_od=1.5, adds_scalar=True)
    penalty = numpy_dip_penalty(np.cov(mean.T, bias=True) + number, 10.0, 1.5)
    assert float(loss) == pytest.approx(123.0 + numpy_distance(3.0) + penalty, rel=1e-12)


def test_mmd_equals_the_kernel_sums_over_a_large_sample_of_the_prior():
    _, _, sample = gaussians()
    prior = np.random.default_rng(2).normal(size=(200_000, LATENTS))

    def kernel(x, y):
        return np.exp(-np.sum((x - y) ** 2, axis=-1) / LATENTS**2)

    within = [kernel(x, y) for i, x in enumerate(sample) for j, y in enumerate(sample) if i != j]
    between = np.mean([kernel(x, prior).mean() for x in sample])
    among = kernel(prior[:100_000], prior[100_000:]).mean()
    expected = np.mean(within) - 2 * between + among
    actual = float(objectives.mmd_to_prior(torch.from_numpy(sample)))
    assert actual == pytest.approx(expected, abs=1e-3)


def test_the_authors_mmd_is_the_kernel_sums_over_all_pairs():
    _, _, sample = gaussians()
    prior = np.random.default_rng(2).normal(size=(40, LATENTS))

    def mean_kernel(xs, ys):
        return np.mean([np.exp(-np.sum((x - y) ** 2) / LATENTS**2) for x in xs for y in ys])

    expected = mean_kernel(sample, sample) + mean_kernel(prior, prior)
    expected -= 2 * mean_kernel(sample, prior)
    forward = replace(forward_pass(), prior=lambda rows: torch.from_numpy(prior[:rows]))
    loss, terms = objectives.info_vae(forward, lambda_=1001.0, prior_samples=40)
    assert float(terms["mmd"]) == pytest.approx(expected, rel=1e-10)
    assert float(loss) == pytest.approx(123.0 + numpy_distance(3.0) + 1000 * expected, rel=1e-10)


def test_the_authors_mmd_differs_from_the_closed_form_by_the_pairs_of_a_sample_with_itself():
    """Of B samples 1/B of the pairs are such ones, whose kernel is 1; of the prior's too."""
    sample = torch.from_numpy(gaussians()[2])
    rows, generator = 1000, torch.Generator().manual_seed(0)
    priors = (
        torch.randn((rows, LATENTS), generator=generator, dtype=torch.float64) for _ in range(50)
    )
    estimates = torch.stack([objectives.mmd_to_prior_sample(sample, prior) for prior in priors])
    kernel = torch.exp(-torch.cdist(sample, sample).square() / LATENTS**2)
    others = (kernel.sum() - BATCH) / (BATCH * (BATCH - 1))
    among_prior = (LATENTS**2 / (LATENTS**2 + 4)) ** (LATENTS / 2)
    bias = float((1 - others) / BATCH) + (1 - among_prior) / rows
    expected = float(objectives.mmd_to_prior(sample)) + bias
    assert float(estimates.mean()) == pytest.approx(expected, abs=5e-4)


def test_mmd_of_a_shifted_gaussian_is_the_closed_form():
    """For N(m, I) against N(0, I) all three expectations are Gaussian integrals."""
    shift, latents = 1.5, 4
    bandwidth = latents**2
    ratio = (bandwidth / (bandwidth + 4)) ** (latents / 2)
    expected = 2 * ratio * (1 - math.exp(-latents * shift**2 / (bandwidth + 4)))
    generator = torch.Generator().manual_seed(0)
    estimates = [
        objectives.mmd_to_prior(
            shift + torch.randn((1000, latents), generator=generator, dtype=torch.float64)
        )
        for _ in range(20)
    ]
    assert float(torch.stack(estimates).mean()) == pytest.approx(expected, rel=0.01)


def test_info_vae_weighs_the_mmd_by_alpha_plus_lambda_minus_1():
    forward = forward_pass()
    mmd = float(objectives.mmd_to_prior(forward.sample))
    loss, _ = objectives.info_vae(forward, lambda_=1000.0, alpha=0.25)
    expected = 123.0 + 0.75 * numpy_distance(3.0) + (0.25 + 1000 - 1) * mmd
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_factor_vae_reads_the_total_correlation_off_an_optimal_discriminator():
    """The optimal discriminator of two Gaussians is known: its logits are their log densities."""
    rho = 0.8
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    joint = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    marginal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)

    def optimal(z):
        return torch.stack([joint.log_prob(z), marginal.log_prob(z).sum(1)], dim=1)

    torch.manual_seed(0)
    sample = joint.sample((200_000,))
    posterior = Posterior(sample, torch.zeros_like(sample))
    reconstruction = torch.tensor(1.0, dtype=torch.float64)
    forward = ForwardPass(posterior, sample, reconstruction, 0.0, optimal)
    loss, terms = objectives.factor_vae(forward, gamma=2.0)
    tc = -0.5 * math.log(1 - rho**2)
    assert float(terms["total_correlation"]) == pytest.approx(tc, abs=0.01)
    distance = float(objectives.capacity_distance(forward))
    expected = 1.0 + distance + 2.0 * float(terms["total_correlation"])
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_a_discriminator_trained_by_its_loss_finds_the_total_correlation():
    rho = 0.8
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    factor = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]]))
    discriminator = Discriminator(latents=2, units=64, hidden_layers=2)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=3e-3)
    for _ in range(600):
        first, second = (torch.randn((512, 2), generator=generator) @ factor.T for _ in range(2))
        loss = objectives.discriminator_loss(discriminator, first, second, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits = discriminator(torch.randn((50_000, 2), generator=generator) @ factor.T)
    estimate = float((logits[:, 0] - logits[:, 1]).mean())
    assert estimate == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.08)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 40))
def test_permuted_latents_keep_every_marginal(seed, batch):
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn((batch, 3), generator=generator)
    permuted = objectives.permute_latents(sample, generator)
    torch.testing.assert_close(permuted.sort(dim=0).values, sample.sort(dim=0).values)


def test_permuted_latents_lose_their_dependence():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn((20_000, 1), generator=generator)
    permuted = objectives.permute_latents(shared.expand(-1, 2).contiguous(), generator)
    assert abs(float(torch.corrcoef(permuted.T)[0, 1])) < 0.02


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), sign=st.sampled_from([-1.0, 1.0]))
def test_total_correlation_does_not_change_with_the_order_or_sign_of_latents(seed, sign):
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance, noise = torch.randn((3, 8, 4), generator=generator, dtype=torch.float64)
    order = torch.randperm(4, generator=generator)
    posterior = Posterior(mean, log_variance)
    sample = posterior.sample(noise)
    other = Posterior(sign * mean[:, order], log_variance[:, order])
    expected = objectives.total_correlation(sample, posterior)
    actual = objectives.total_correlation(sign * sample[:, order], other)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ("objective", "arguments"),
    [
        (objectives.vae, {}),
        (objectives.beta_vae, {"beta": 2.0}),
        (objectives.beta_tcvae, {"beta": 2.0}),
        (objectives.dip_vae_i, {"lambda_d": 10.0, "lambda_od": 1.0}),
        (objectives.dip_vae_ii, {"lambda_d": 10.0, "lambda_od": 1.0}),
        (objectives.info_vae, {"lambda_": 1000.0}),
    ],
)
def test_gradients_equal_finite_differences(objective, arguments):
    mean, log_variance, _ = (torch.from_numpy(value) for value in gaussians())
    noise = torch.from_numpy(np.random.default_rng(3).normal(size=(BATCH, LATENTS)))

    def loss(mean, log_variance):
        posterior = Posterior(mean, log_variance)
        reconstruction = mean.new_tensor(1.0)
        return objective(
            ForwardPass(posterior, posterior.sample(noise), reconstruction, 3.0), **arguments
        )[0]

    inputs = (mean.requires_grad_(), log_variance.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)
