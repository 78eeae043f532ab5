"""The training objectives of the paper's six methods, and the plain VAE of its pre-training.

Every objective is one function of a `ForwardPass`. It returns the loss, which is minimised (the
papers maximise its negative), and the terms that a person wants to see beside the reconstruction
and the KL divergence. All values are in nats per image, averaged over the batch. Symbols:
x image, z latents, q(z|x) posterior (encoder), p(x|z) likelihood (decoder), p(z) = N(0, I) prior,
q(z) = E_x q(z|x) aggregate posterior, C capacity.

A new method is one more function here and one more file in `gin/`. The function says what it
returns, by which it is known as an objective, and the type and range of each setting
(`submission.values`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import gin
import torch
import torch.nn.functional as F
from torch import Tensor

from submission.networks import Posterior
from submission.values import Interval

Terms = dict[str, Tensor]

# Of a term in the loss; 0 leaves the term out.
Weight = Annotated[float, Interval(ge=0, le=1e9)]


@dataclass(frozen=True)
class ForwardPass:
    """What an objective may use of one forward pass over a batch.

    Attributes:
        posterior: q(z|x) of the batch, mean and log-variance `[batch, latents]`.
        sample: z ~ q(z|x), `[batch, latents]`.
        reconstruction: The mean of -log p(x|z) over the batch, a scalar.
        capacity: C of Eq. 2, a scalar in nats.
        discriminator: FactorVAE's classifier, latents to logits `[batch, 2]`; else None.
        capacity_of_mean: `capacity.of_batch_mean`.
        prior: Draws so many rows of z ~ p(z), `[rows, latents]`.
    """

    posterior: Posterior
    sample: Tensor
    reconstruction: Tensor
    capacity: Tensor | float
    discriminator: Callable[[Tensor], Tensor] | None = None
    capacity_of_mean: bool = False
    prior: Callable[[int], Tensor] | None = None


Objective = Callable[[ForwardPass], tuple[Tensor, Terms]]


def bernoulli_reconstruction(logits: Tensor, images: Tensor) -> Tensor:
    """The mean over the batch of -log p(x|z) with Bernoulli pixels, summed over an image's pixels.

    Args:
        logits: `[batch, channels, height, width]`.
        images: The same shape, in [0, 1].
    """
    total = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    return total / images.shape[0]


def kl_to_prior(posterior: Posterior) -> Tensor:
    """KL(q(z_j|x) || N(0, 1)) of each image and latent, `[batch, latents]`, in closed form.

    Example:
        >>> kl_to_prior(Posterior(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2)))
        tensor([[0., 2.]])
    """
    mean, log_variance = posterior
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0)


def capacity_distance(forward: ForwardPass) -> Tensor:
    """D(q(z|x_n), p(z)) = |KL(q(z|x_n) || p(z)) - C|, averaged over the batch (paper, Eq. 2).

    The paper writes the deviation of each image x_n. Burgess et al. (2018) and
    disentanglement-pytorch (`models/vae.py`) take the absolute value of the batch's mean deviation
    instead, as `forward.capacity_of_mean` does, which lets one image's excess make up for another's
    lack.
    """
    kl = kl_to_prior(forward.posterior).sum(dim=1)
    if forward.capacity_of_mean:
        kl = kl.mean()
    return (kl - forward.capacity).abs().mean()


def _log_density(sample: Tensor, posterior: Posterior) -> Tensor:
    """Elementwise log N(sample; mean, variance), with broadcasting."""
    mean, log_variance = posterior
    squared = (sample - mean).square() * torch.exp(-log_variance)
    return -0.5 * (squared + log_variance + math.log(2 * math.pi))


def total_correlation(sample: Tensor, posterior: Posterior) -> Tensor:
    """TC(z) = KL(q(z) || prod_j q(z_j)), estimated from a batch (last term of the paper's Eq. 1).

    The densities of the aggregate posterior and of its marginals are estimated by the batch's own
    mixture: q(z) = 1/M sum_m q(z|x_m). Chen et al. (2018, Eq. S6) divide by N M for a data set of
    N images, and disentanglement_lib by nothing; those differ from this by a constant, so the
    gradients are the same, but only 1/M converges to the TC as the batch grows.

    Args:
        sample: z ~ q(z|x), `[batch, latents]`.
        posterior: `[batch, latents]`.

    Returns:
        A scalar, in nats.
    """
    means, log_variances = (value[None] for value in posterior)
    # log_q[n, m, j] = log q(z_j of sample n | x_m).
    log_q = _log_density(sample[:, None], Posterior(means, log_variances))
    log_batch = math.log(sample.shape[0])
    log_joint = torch.logsumexp(log_q.sum(dim=2), dim=1) - log_batch
    log_marginals = torch.logsumexp(log_q, dim=1) - log_batch
    return (log_joint - log_marginals.sum(dim=1)).mean()


def covariance(values: Tensor) -> Tensor:
    """The biased (1/M) covariance matrix `[latents, latents]` of values `[batch, latents]`.

    Example:
        >>> covariance(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        tensor([[1., 0.],
                [0., 0.]])
    """
    centred = values - values.mean(dim=0)
    return centred.T @ centred / values.shape[0]


def dip_penalty(matrix: Tensor, lambda_d: float, lambda_od: float) -> Tensor:
    """lambda_od sum_{i!=j} Cov_ij^2 + lambda_d sum_i (Cov_ii - 1)^2 (Kumar et al. 2018, Eq. 6, 7).

    Args:
        matrix: A covariance matrix `[latents, latents]`.
        lambda_d: Weight of the diagonal.
        lambda_od: Weight of the off-diagonal.

    Example:
        >>> dip_penalty(torch.tensor([[1.0, 0.5], [0.5, 1.0]]), lambda_d=10.0, lambda_od=1.0)
        tensor(0.5000)
    """
    diagonal = matrix.diagonal()
    off_diagonal = matrix - torch.diag(diagonal)
    return lambda_od * off_diagonal.square().sum() + lambda_d * (diagonal - 1.0).square().sum()


def mmd_to_prior(sample: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between q(z) and p(z) = N(0, I) (Zhao et al. 2017, Eq. 8).

    The kernel is k(z, z') = exp(-||z - z'||^2 / latents^2), the one of Zhao et al.'s published
    code; the paper's lambda = 1000 belongs to it. Unlike that code, which also draws a sample
    of the prior, the two expectations over the prior are taken in closed form, and the one over
    q(z) leaves out the pairs of a sample with itself: an unbiased estimate of less variance. It
    can therefore be slightly negative.

    Args:
        sample: z ~ q(z|x), `[batch, latents]`, batch at least 2.

    Returns:
        A scalar.
    """
    batch, latents = sample.shape
    bandwidth = latents**2
    # Over z' ~ N(0, s I): E[exp(-||z - z'||^2 / b)] = (b/(b+2s))^(d/2) exp(-||z||^2/(b+2s)).
    prior_prior = (bandwidth / (bandwidth + 4.0)) ** (latents / 2)
    shrinkage = (bandwidth / (bandwidth + 2.0)) ** (latents / 2)
    squared_norms = sample.square().sum(dim=1)
    sample_prior = shrinkage * torch.exp(-squared_norms / (bandwidth + 2.0)).mean()
    squared_distances = (sample[:, None] - sample[None]).square().sum(dim=2)
    kernel = torch.exp(-squared_distances / bandwidth)
    sample_sample = (kernel.sum() - batch) / (batch * (batch - 1))
    return sample_sample - 2.0 * sample_prior + prior_prior


def mmd_to_prior_sample(sample: Tensor, prior: Tensor) -> Tensor:
    """What `mmd_to_prior` estimates, as the authors' code does (`compute_mmd`, `models/vae.py`).

    Of p(z) it sees a sample of 1,000, not the closed forms, and pairs of a sample with itself
    count: a biased estimate, which is never negative.

    Args:
        sample: z ~ q(z|x), `[batch, latents]`.
        prior: z ~ p(z), `[rows, latents]`.

    Returns:
        A scalar.
    """

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        # Not by a matrix product, which TF32 would round.
        distances = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.exp(-distances.square() / sample.shape[1] ** 2).mean()

    return kernel(sample, sample) - 2.0 * kernel(sample, prior) + kernel(prior, prior)


def discriminator_loss(
    discriminator: Callable[[Tensor], Tensor],
    sample: Tensor,
    second_sample: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """The discriminator's cross-entropy between q(z) and prod_j q(z_j) (Kim & Mnih 2018, Alg. 2).

    Args:
        discriminator: Latents to logits (joint, permuted).
        sample: z of the first batch, `[batch, latents]`; no gradient flows into it.
        second_sample: z of a second, independent batch, whose latents are permuted.
        generator: Draws the permutations.

    Returns:
        A scalar, in nats.
    """
    shuffled = permute_latents(second_sample.detach(), generator)
    # One pass over both: the weights, which outweigh the batch, are then read once.
    joint, permuted = discriminator(torch.cat([sample.detach(), shuffled])).chunk(2)
    as_joint = torch.zeros(len(joint), dtype=torch.long, device=joint.device)
    as_permuted = torch.ones(len(permuted), dtype=torch.long, device=permuted.device)
    return 0.5 * (F.cross_entropy(joint, as_joint) + F.cross_entropy(permuted, as_permuted))


def permute_latents(sample: Tensor, generator: torch.Generator) -> Tensor:
    """Permutes each latent across the batch on its own (Kim & Mnih 2018, Alg. 1).

    The result `[batch, latents]` has the marginals of `sample` and no dependence between latents.
    """
    scores = torch.rand(sample.shape, generator=generator, device=sample.device)
    return sample.gather(0, scores.argsort(dim=0))


@gin.configurable
def vae(forward: ForwardPass) -> tuple[Tensor, Terms]:
    """-ELBO = -E_q[log p(x|z)] + KL(q(z|x) || p(z)) (Kingma & Welling 2013), for pre-training."""
    kl = kl_to_prior(forward.posterior).sum(dim=1).mean()
    return forward.reconstruction + kl, {}


@gin.configurable
def beta_vae(forward: ForwardPass, beta: Weight = gin.REQUIRED) -> tuple[Tensor, Terms]:
    """-E_q[log p(x|z)] + beta D, the beta-VAE with the paper's progressive capacity.

    With D of the paper's Eq. 2 this is Burgess et al. (2018), Eq. 8, their gamma being beta.

    Args:
        forward: The batch's.
        beta: Weight of D.
    """
    distance = capacity_distance(forward)
    return forward.reconstruction + beta * distance, {}


@gin.configurable
def beta_tcvae(forward: ForwardPass, beta: Weight = gin.REQUIRED) -> tuple[Tensor, Terms]:
    """-E_q[log p(x|z)] + D + (beta - 1) TC(z): the paper's Eq. 1 (after Chen et al. 2018).

    Args:
        forward: The batch's.
        beta: Weight of TC(z), plus 1.
    """
    distance = capacity_distance(forward)
    tc = total_correlation(forward.sample, forward.posterior)
    return forward.reconstruction + distance + (beta - 1.0) * tc, {"total_correlation": tc}


@gin.configurable
def factor_vae(forward: ForwardPass, gamma: Weight = gin.REQUIRED) -> tuple[Tensor, Terms]:
    """-E_q[log p(x|z)] + D + gamma TC(z) (Kim & Mnih 2018, Eq. 2; TC as in their Eq. 3).

    log(D / (1 - D)) of a two-class softmax is the difference of its logits.

    Args:
        forward: The batch's.
        gamma: Weight of TC(z).
    """
    assert forward.discriminator is not None, "factor_vae needs trainer.discriminator"
    distance = capacity_distance(forward)
    joint, permuted = forward.discriminator(forward.sample).unbind(dim=1)
    tc = (joint - permuted).mean()
    return forward.reconstruction + distance + gamma * tc, {"total_correlation": tc}


@gin.configurable
def dip_vae_i(
    forward: ForwardPass, lambda_d: Weight = gin.REQUIRED, lambda_od: Weight = gin.REQUIRED
) -> tuple[Tensor, Terms]:
    """-E_q[log p(x|z)] + D + the DIP penalty on Cov_x[E[z|x]] (Kumar et al. 2018, Eq. 6).

    Args:
        forward: The batch's.
        lambda_d: Weight of the covariances' diagonal.
        lambda_od: Weight of what lies off it.
    """
    distance = capacity_distance(forward)
    penalty = dip_penalty(covariance(forward.posterior.mean), lambda_d, lambda_od)
    return forward.reconstruction + distance + penalty, {"dip_penalty": penalty}


@gin.configurable
def dip_vae_ii(
    forward: ForwardPass,
    lambda_d: Weight = gin.REQUIRED,
    lambda_od: Weight = gin.REQUIRED,
    adds_scalar: bool = False,
) -> tuple[Tensor, Terms]:
    """-E_q[log p(x|z)] + D + the DIP penalty on Cov[z] under q(z) (Kumar et al. 2018, Eq. 7).

    By the law of total covariance Cov[z] = E_x[Cov[z|x]] + Cov_x[E[z|x]]. The authors' code
    (`models/dipvae.py`) takes `torch.diag` of variances `[batch, latents]`, which reads their main
    diagonal: its mean, one number, is added to the whole matrix, also off the diagonal.

    Args:
        forward: The batch's.
        lambda_d: Weight of the covariances' diagonal.
        lambda_od: Weight of what lies off it.
        adds_scalar: For E_x[Cov[z|x]], take the authors' one number.
    """
    distance = capacity_distance(forward)
    if adds_scalar:
        within = forward.posterior.log_variance.diagonal().exp().mean()
    else:
        within = torch.diag(forward.posterior.log_variance.exp().mean(dim=0))
    penalty = dip_penalty(within + covariance(forward.posterior.mean), lambda_d, lambda_od)
    return forward.reconstruction + distance + penalty, {"dip_penalty": penalty}


@gin.configurable
def info_vae(
    forward: ForwardPass,
    lambda_: Weight = gin.REQUIRED,
    alpha: Annotated[float, Interval(ge=-1e9, le=1)] = 0.0,
    prior_samples: Annotated[int, Interval(ge=0, le=10_000)] = 0,
) -> tuple[Tensor, Terms]:
    """-E_q[log p(x|z)] + (1 - alpha) D + (alpha + lambda - 1) MMD(q(z), p(z)).

    This is Zhao et al. (2017), Eq. 6, with MMD as the divergence.

    The paper gives lambda = 1000 and no alpha; alpha = 0 keeps its capacity term D at full weight.
    The authors' code (`models/vae.py`) weighs the MMD by 1000: here, a lambda of 1001.

    Args:
        forward: The batch's.
        lambda_: The paper's lambda.
        alpha: The paper's alpha.
        prior_samples: Draws of the prior that the MMD is estimated with in each step, 1,000 in the
            authors' code; 0 takes the closed forms.
    """
    distance = capacity_distance(forward)
    if prior_samples:
        assert forward.prior is not None
        mmd = mmd_to_prior_sample(forward.sample, forward.prior(prior_samples))
    else:
        mmd = mmd_to_prior(forward.sample)
    loss = forward.reconstruction + (1.0 - alpha) * distance + (alpha + lambda_ - 1.0) * mmd
    return loss, {"mmd": mmd}
