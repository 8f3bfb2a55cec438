"""resnet18: ResNet-18 (He et al. 2016, arXiv:1512.03385) by timm; head first, then fine-tuned.

source     timm `resnet18`; weights timm/resnet18.a1_in1k where they can be had
licence    Apache-2.0 (timm and weights)
pretrained ImageNet-1k, or from scratch where the weights cannot be had (said on the row)
measured   2026-11-23, HAM10000 at 200x150, resized to 64 px, 8 epochs, five folds, lesion-level,
           from scratch, which is not the recipe at full strength:
           macro-F1 0.546 [0.526, 0.566], balanced accuracy 0.588 [0.564, 0.611]
time       84 min in all for the five jobs, one thread each, on 2 cores that did other work as well
command    python bench.py run --protocol groupkfold5 --data ../shared/data/ham10000
           --method resnet18 --set epochs=8 --image-size 64
"""

from bench.method import Method, Recipe
from bench.train import fit_predict

METHOD = Method(
    name="resnet18",
    recipe=Recipe(
        model="resnet18",
        pretrained="timm/resnet18.a1_in1k",
        pretraining_data="ImageNet-1k",
        image_size=224,
        epochs=20,
        batch_size=32,
        lr=1e-3,
        weight_decay=2e-2,
        schedule="cosine",
        warmup_epochs=0.5,
        freeze_epochs=2,
        head_lr=3e-3,
        sampler_power=0.5,
        rotation=180,
        brightness=0.1,
        contrast=0.1,
        saturation=0.1,
        early_stopping=8,
    ),
    fit_predict=fit_predict,
)
