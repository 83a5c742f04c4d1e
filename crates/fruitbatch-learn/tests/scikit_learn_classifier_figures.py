"""Writes tests/fixtures/scikit_learn_classifier_figures.json: scikit-learn's logistic regressions and figures about predictions.

    python -m venv VENV && VENV/bin/pip install scikit-learn==1.9.1
    VENV/bin/python tests/scikit_learn_classifier_figures.py
"""

import json
import pathlib

import numpy as np
import sklearn
from formula_features import features
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from sklearn.preprocessing import StandardScaler

rows = features(200, 12).astype(np.float64)
is_training = np.arange(200) % 5 != 4


def logistic_regression(labels, l2):
    scaler = StandardScaler().fit(rows[is_training])
    fitted = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=100_000)
    fitted.fit(scaler.transform(rows[is_training]), labels[is_training])
    probabilities = fitted.predict_proba(scaler.transform(rows[~is_training]))
    return {"labels": labels.tolist(), "l2": l2, "test_probabilities": probabilities.tolist()}


def report(labels, predicted):
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, zero_division=0)
    means = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    return {
        "labels": labels,
        "predicted": predicted,
        "accuracy": accuracy_score(labels, predicted),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": [int(rows) for rows in support],
        "macro": [float(mean) for mean in means[:3]],
        "confusion_matrix": confusion_matrix(labels, predicted).tolist(),
    }


# Two of the formula's three groups share most of their labels, so that no weights tell all rows apart.
numbers = np.arange(200)
three = np.where(numbers * numbers % 7 == 1, (numbers + 1) % 3, numbers % 3)
figures = {
    "made_with": f"scikit-learn {sklearn.__version__}",
    "regressions": [
        logistic_regression(three * 2 + 1, 1.0),
        logistic_regression(three, 25.0),
        logistic_regression((three == 1).astype(int), 1.0),
        logistic_regression((numbers % 10 < 3).astype(int), 0.5),
    ],
    "reports": [
        report([row * row * 7 % 11 % 4 for row in range(60)], [row * 13 % 17 % 4 for row in range(60)]),
        # Label 2 is never predicted, label 9 never there, label 5 always right.
        report([0, 0, 0, 1, 1, 2, 2, 5, 5, 0], [0, 1, 0, 1, 9, 0, 1, 5, 5, 0]),
        report([3, 3, 3], [3, 3, 3]),
        report([3, 3], [4, 4]),
    ],
}
target = pathlib.Path(__file__).parent / "fixtures" / "scikit_learn_classifier_figures.json"
target.write_text(json.dumps(figures, indent=1) + "\n")
