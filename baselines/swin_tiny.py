"""swin_tiny: Swin-Tiny (Liu et al. 2021, arXiv:2103.14030) by timm, fine-tuned.

source     timm `swin_tiny_patch4_window7_224`; weights timm/swin_tiny_patch4_window7_224.ms_in1k
           where they can be had; at another image size their position biases are resized, by timm
licence    MIT (weights), Apache-2.0 (timm)
pretrained ImageNet-1k, or from scratch where the weights cannot be had (said on the row)
chosen     layer-wise decay of the learning rate and stochastic depth
measured   not yet run
command    python bench.py run --protocol groupkfold5 --data DIR --method swin_tiny
"""

from bench.method import Method, Recipe
from bench.train import fit_predict

METHOD = Method(
    name="swin_tiny",
    recipe=Recipe(
        model="swin_tiny_patch4_window7_224",
        pretrained="timm/swin_tiny_patch4_window7_224.ms_in1k",
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
