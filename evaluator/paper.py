"""What the paper (Abdi, Abolmaesumi and Fels, 2019) prints: its names and its Table 1."""

from evaluator.metrics import METRICS

METHOD_TITLES = {
    "beta_tcvae": "β-TCVAE",
    "factor_vae": "Factor-VAE",
    "beta_vae": "β-VAE",
    "info_vae": "Info-VAE",
    "dip_vae_i": "DIP-VAE-I",
    "dip_vae_ii": "DIP-VAE-II",
    "vae": "VAE",
}
"""In the order of Table 1; the last is that of the pre-training."""

METRIC_TITLES = {name: metric.title for name, metric in METRICS.items()}
"""In the order of Table 1."""

TABLE_1 = {
    "beta_tcvae": (0.392, 0.458, 0.132, 0.203, 0.646, 4.706),
    "factor_vae": (0.389, 0.449, 0.136, 0.203, 0.577, 4.611),
    "beta_vae": (0.373, 0.501, 0.135, 0.212, 0.517, 4.599),
    "info_vae": (0.381, 0.523, 0.128, 0.210, 0.514, 4.591),
    "dip_vae_i": (0.385, 0.587, 0.127, 0.188, 0.358, 4.351),
    "dip_vae_ii": (0.359, 0.584, 0.111, 0.163, 0.340, 4.023),
}
"""The metrics in the order of `METRIC_TITLES`, then the normalised sum."""
