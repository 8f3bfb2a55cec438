"""metadata_logistic: logistic regression on age, sex and localization; it never sees an image.

source     this project, on scikit-learn; what it reaches, a model may reach without seeing skin
licence    MIT; scikit-learn BSD-3-Clause
pretrained no
chosen     bands of ten years; what is missing is a word of its own; classes count the same
measured   2026-11-23, HAM10000, five folds, lesion-level:
           macro-F1 0.199 [0.188, 0.211], balanced accuracy 0.355 [0.328, 0.379]
time       16 s in all for the five jobs, one thread each, on 2 cores that did other work as well
command    python bench.py run --protocol groupkfold5 --data ../shared/data/ham10000
           --method metadata_logistic
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from bench.data.metadata_words import metadata_words
from bench.method import FoldTask, Method, Part, Recipe
from bench.predictions import Predictions


def fit_predict(task: FoldTask) -> Predictions:
    """Fit on the words of train; nothing is chosen on val."""
    model = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    model.fit(metadata_words(task.train.records), task.train.labels)

    def predict(part: Part) -> Predictions:
        probs = np.zeros((len(part), len(task.classes)))
        probs[:, model.classes_] = model.predict_proba(metadata_words(part.records))
        return Predictions(part.image_ids, probs, task.classes)

    task.journal.val_predictions(predict(task.val))
    return predict(task.test)


METHOD = Method(
    name="metadata_logistic",
    recipe=Recipe(image_size=32, pretraining_data="none"),
    fit_predict=fit_predict,
)
