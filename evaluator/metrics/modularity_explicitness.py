"""Modularity (each latent tells of one factor) and explicitness (a linear classifier reads them).

Karl Ridgeway and Michael C. Mozer, "Learning Deep Disentangled Embeddings with the F-Statistic
Loss", NeurIPS 2018, Section 2. One function of disentanglement_lib's gives both.
"""

from dataclasses import replace

from evaluator.metrics.discretizer import DISCRETIZER
from evaluator.metrics.draws import images_of_train_and_test
from evaluator.metrics.metric import Batch, Metric, Samples

MODULARITY = Metric(
    name="modularity",
    title="Modularity",
    module="modularity_explicitness",
    function="compute_modularity_explicitness",
    configurable="modularity_explicitness",
    score="modularity_score",
    settings={
        "modularity_explicitness.num_train": Samples,
        "modularity_explicitness.num_test": Samples,
        "modularity_explicitness.batch_size": Batch,
        **DISCRETIZER,
    },
    images=images_of_train_and_test,
    part_of="modularity_explicitness",
)
EXPLICITNESS = replace(
    MODULARITY, name="explicitness", title="Explicitness", score="explicitness_score_test"
)
