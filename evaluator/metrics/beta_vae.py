"""The BetaVAE metric: whether a linear classifier names the factor that pairs of images share.

Irina Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
Framework", ICLR 2017, Section 3.
"""

from evaluator.metrics.metric import Batch, Metric, Samples

BETA_VAE = Metric(
    name="beta_vae",
    title="BetaVAE",
    module="beta_vae",
    function="compute_beta_vae_sklearn",
    configurable="beta_vae_sklearn",
    score="eval_accuracy",
    settings={
        "beta_vae_sklearn.batch_size": Batch,
        "beta_vae_sklearn.num_train": Samples,
        "beta_vae_sklearn.num_eval": Samples,
    },
)
