"""efficientnet_b4: EfficientNet-B4 (Tan & Le 2019, arXiv:1905.11946) by timm, fine-tuned.

source     timm `efficientnet_b4`; weights timm/efficientnet_b4.ra2_in1k where they can be had
licence    Apache-2.0 (timm and weights)
pretrained ImageNet-1k, or from scratch where the weights cannot be had (said on the row)
measured   not yet run
command    python bench.py run --protocol groupkfold5 --data DIR --method efficientnet_b4
"""

from bench.method import Method, Recipe
from bench.train import fit_predict

METHOD = Method(
    name="efficientnet_b4",
    recipe=Recipe(
        model="efficientnet_b4",
        pretrained="timm/efficientnet_b4.ra2_in1k",
        pretraining_data="ImageNet-1k",
        dropout=0.4,
        drop_path=0.2,
        image_size=320,
        epochs=20,
        batch_size=32,
        lr=1e-3,
        weight_decay=1e-2,
        schedule="cosine",
        warmup_epochs=0.5,
        freeze_epochs=1,
        head_lr=3e-3,
        grad_clip=5.0,
        sampler_power=0.5,
        sampler="class_aware",
        label_smoothing=0.1,
        rotation=180,
        scale=0.1,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        ema_decay=0.999,
        early_stopping=8,
    ),
    fit_predict=fit_predict,
)
