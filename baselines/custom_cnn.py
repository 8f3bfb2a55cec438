"""custom_cnn: a compact CNN with batch norm, trained from scratch.

source     this project; four stages of two 3x3 convolutions, batch norm and max pooling
licence    MIT
pretrained no
measured   2026-11-23, HAM10000 at 200x150, resized to 64 px, 8 epochs, five folds, lesion-level,
           from scratch, which is not the recipe at full strength:
           macro-F1 of seed 0 0.538 [0.519, 0.559], 1 0.549 [0.529, 0.570], 2 0.551 [0.532, 0.571],
           mean 0.546 [0.528, 0.565], standard deviation over the seeds 0.007;
           balanced accuracy 0.572 [0.550, 0.594], 0.587 [0.566, 0.608], 0.593 [0.571, 0.615]
time       22 min of processor time a seed, all five folds, one thread
command    python bench.py run --protocol groupkfold5 --data ../shared/data/ham10000
           --method custom_cnn --set epochs=8 --image-size 64 --seeds 0,1,2
           python -m benchmarks.seeds custom_cnn --data ../shared/data/ham10000
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
