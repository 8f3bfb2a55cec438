"""linear_probe: logistic regression on the features of a frozen, pretrained MobileNetV2.

source     timm `mobilenetv2_100` (Sandler et al. 2018, arXiv:1801.04381), its weights frozen;
           scikit-learn's logistic regression on top
licence    Apache-2.0 (timm and weights); scikit-learn BSD-3-Clause
pretrained ImageNet-1k, or random features where the weights cannot be had (said on the row)
chosen     the strength of the penalty, by macro-F1 on val
measured   2026-11-23, HAM10000 at 200x150, resized to 128 px, five folds, lesion-level, ImageNet
           weights of torchvision's MobileNetV2 (batch norm folded in):
           macro-F1 0.512 [0.492, 0.534], balanced accuracy 0.522 [0.501, 0.544]
time       6 min in all for the five jobs, the features 3 of them; one thread each, on 2 cores
           that did other work as well
command    python bench.py run --protocol groupkfold5 --data ../shared/data/ham10000
           --method linear_probe --set pretraining_data=ImageNet-1k
           --weights mobilenetv2_100_tv_bnfolded_noclassifier_timm.pth
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.method import FoldTask, Method, Part, Recipe
from bench.predictions import Predictions

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Candidates for C, the inverse of the penalty."""


def fit_predict(task: FoldTask) -> Predictions:
    """Fit a linear classifier on frozen features; val chooses its penalty."""
    from bench.train.features import frozen_features  # torch comes with it

    features_of = frozen_features(task)
    train, val, test = (features_of(part) for part in (task.train, task.val, task.test))
    counts = np.bincount(task.train.labels, minlength=len(task.classes)).clip(1)
    weights = (counts**-task.recipe.class_weight_power)[task.train.labels]

    def fitted(penalty: float) -> tuple[float, LogisticRegression]:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
        model.fit(
            train, task.train.labels, logisticregression__sample_weight=weights / weights.mean()
        )
        score = f1_score(task.val.labels, model.predict(val), average="macro", zero_division=0)
        return score, model

    score, model = max((fitted(penalty) for penalty in PENALTIES), key=lambda found: found[0])
    task.journal.fact("penalty", model[-1].C)
    task.journal.fact("val_score", score)

    def predictions(part: Part, features: np.ndarray) -> Predictions:
        probs = np.zeros((len(part), len(task.classes)))
        probs[:, model.classes_] = model.predict_proba(features)
        return Predictions(part.image_ids, probs, task.classes)

    task.journal.val_predictions(predictions(task.val, val))
    return predictions(task.test, test)


METHOD = Method(
    name="linear_probe",
    recipe=Recipe(
        model="mobilenetv2_100",
        pretrained="timm/mobilenetv2_100.ra_in1k",
        pretraining_data="ImageNet-1k",
        image_size=128,
        class_weight_power=0.5,
    ),
    fit_predict=fit_predict,
)
