"""efficientnet_phase4: EfficientNet-B0 with the recipe of a HAM10000 notebook's "Phase 4".

source     the notebook's readme: EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946), ImageNet
           weights, WeightedRandomSampler and class weights, CutMix and MixUp, mixed precision,
           EMA, ReduceLROnPlateau, early stopping on val macro-F1. It reported a test macro-F1 of
           0.1617 (best) and 0.0891 (EMA)
licence    Apache-2.0 (timm and weights)
pretrained ImageNet-1k, or from scratch where the weights cannot be had (said on the row)
chosen     where the readme is silent: the sampler takes half of the imbalance (power 0.5) and the
           class weights half of what is left; balancing both fully (sampler_power=1,
           class_weight_power=1, class_weight_prior=natural) counts a rare class many times over.
           EMA warms up, since a decay of 0.999 from the start still holds the random weights after
           a few hundred steps. Mixing stops for the last epochs. Each is a switch; the original:
           --set sampler_power=1 --set class_weight_power=1 --set class_weight_prior=natural
           --set ema_warmup=false --set mix_off_epochs=0
measured   2026-11-23, HAM10000 at 200x150, resized to 64 px, 8 epochs, five folds, lesion-level,
           from scratch, which is not the recipe at full strength:
           macro-F1 0.478 [0.460, 0.498], balanced accuracy 0.545 [0.524, 0.564]
time       61 min in all for the five jobs, one thread each, on 2 cores that did other work as well
command    python bench.py run --protocol groupkfold5 --data ../shared/data/ham10000
           --method efficientnet_phase4 --set epochs=8 --image-size 64
"""

from bench.method import Method, Recipe
from bench.train import fit_predict

METHOD = Method(
    name="efficientnet_phase4",
    recipe=Recipe(
        model="efficientnet_b0",
        pretrained="timm/efficientnet_b0.ra_in1k",
        pretraining_data="ImageNet-1k",
        dropout=0.2,
        image_size=224,
        epochs=30,
        batch_size=32,
        lr=1e-3,
        weight_decay=1e-2,
        schedule="plateau",
        plateau_factor=0.5,
        plateau_patience=2,
        warmup_epochs=0.5,
        grad_clip=5.0,
        sampler_power=0.5,
        class_weight_power=0.5,
        cutmix_prob=0.25,
        mixup_prob=0.25,
        mix_off_epochs=2,
        hflip=0.5,
        vflip=0.5,
        rotation=180,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.02,
        ema_decay=0.999,
        early_stopping=8,
    ),
    fit_predict=fit_predict,
)
