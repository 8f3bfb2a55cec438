"""convnext_tiny: ConvNeXt-Tiny (Liu et al. 2022, arXiv:2201.03545) by timm, fine-tuned.

source     timm `convnext_tiny`; weights timm/convnext_tiny.fb_in1k where they can be had
licence    Apache-2.0 (timm and weights)
pretrained ImageNet-1k, or from scratch where the weights cannot be had (said on the row)
chosen     layer-wise decay of the learning rate and stochastic depth, as the paper's fine-tuning
           has them; the rate is timm's order of magnitude for batches of 32
measured   not yet run
command    python bench.py run --protocol groupkfold5 --data DIR --method convnext_tiny
"""

from bench.method import Method, Recipe
from bench.train import fit_predict

METHOD = Method(
    name="convnext_tiny",
    recipe=Recipe(
        model="convnext_tiny",
        pretrained="timm/convnext_tiny.fb_in1k",
        pretraining_data="ImageNet-1k",
        drop_path=0.1,
        image_size=224,
        epochs=20,
        batch_size=32,
        lr=2e-4,
        weight_decay=5e-2,
        schedule="cosine",
        warmup_epochs=1,
        layer_decay=0.8,
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
