"""A protocol's folds in scikit-learn, and the predictions back to the bench.

    python bench.py protocol show groupkfold5 --data DIR --export folds.csv
    python docs/examples/predefined_split.py folds.csv DIR/HAM10000_metadata.csv preds.csv
    python bench.py submit preds.csv --name forest --protocol groupkfold5 --data DIR \
        --origin "this example" --licence MIT --pretraining-data none

PredefinedSplit knows train and test only, so the val part teaches, too; who chooses something on
val takes the parts from `--export folds.json`. Needs pandas and scikit-learn, not the bench.
"""

from __future__ import annotations

import sys

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def main(folds_file: str, metadata_file: str, predictions_file: str) -> None:
    """Predict every image in the fold that tests it; write the file that `submit` takes."""
    folds = pd.read_csv(folds_file, dtype=str, keep_default_na=False).set_index("image_id")
    metadata = pd.read_csv(metadata_file).set_index("image_id").loc[folds.index]

    tested = folds.filter(like="fold").eq("test")
    split = PredefinedSplit(tested.to_numpy().argmax(axis=1))

    words = ["sex", "localization"]
    known = metadata[["age", *words]].fillna(dict.fromkeys(words, "missing") | {"age": -1})
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), words), remainder="passthrough"
        ),
        RandomForestClassifier(200, min_samples_leaf=3, class_weight="balanced", random_state=0),
    )
    probs = cross_val_predict(model, known, metadata["dx"], cv=split, method="predict_proba")

    columns = [f"p_{name}" for name in sorted(metadata["dx"].unique())]
    pd.DataFrame(probs, folds.index, columns).to_csv(predictions_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
