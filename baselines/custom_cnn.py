"""custom_cnn: a compact CNN with batch norm, trained from scratch.

source     this project; four stages of two 3x3 convolutions, batch norm and max pooling
licence    MIT
pretrained no
command    not yet run
"""

from bench.method import Method, Recipe
from bench.train import fit_predict

METHOD = Method(
    name="custom_cnn",
    recipe=Recipe(
        model="custom_cnn",
        dropout=0.2,
        image_size=128,
        epochs=30,
        batch_size=32,
        lr=2e-3,
        weight_decay=1e-2,
        schedule="cosine",
        warmup_epochs=1,
        sampler_power=0.5,
        rotation=180,
        brightness=0.1,
        contrast=0.1,
        saturation=0.1,
        early_stopping=10,
    ),
    fit_predict=fit_predict,
)
