"""Writes metrics.json: scikit-learn's answers for the cases of tests/metrics.rs.

Run: python metrics.py > metrics.json   (made with scikit-learn 1.9.1, numpy 2.4.6)

A random case is drawn by the splitmix64 generator from its number alone, here and in the test
alike, so that only the answers are stored.
"""
import json
import sys
import warnings

import numpy as np
from sklearn import metrics as m

warnings.simplefilter("ignore")
MASK = (1 << 64) - 1
CASES = 300


class SplitMix64:
    def __init__(self, state):
        self.state = state

    def below(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % bound


def draw(number):
    rng = SplitMix64(number)
    n = 1 + rng.below(60)
    c = 2 + rng.below(5)
    # How many different scores there are: few give ties, one gives nothing but ties.
    levels = [1, 2, 5, 100, 1 << 20][rng.below(5)]
    # Only classes below this number occur among the labels.
    occurring = 1 + rng.below(c)
    weighted = rng.below(3) == 0
    labels = [rng.below(occurring) for _ in range(n)]
    rows = []
    for label in labels:
        parts = [1 + rng.below(levels) for _ in range(c)]
        if rng.below(2) == 0:
            parts[label] += levels
        if rng.below(8) == 0:
            parts = [0] * c
            parts[rng.below(c)] = 1
        total = float(sum(parts))
        rows.append([part / total for part in parts])
    weights = [float(rng.below(4)) for _ in range(n)] if weighted else None
    if weights is not None and sum(weights) == 0:
        weights[0] = 1.0
    return np.array(labels), np.array(rows), c, weights


def rounded(values):
    """Twelve significant digits; null for what is not a number."""
    return [None if v is None or v != v else float("%.12g" % v) for v in values]


def calibration(labels, rows, weights, bins):
    """The textbook definition, with the bins (lower, upper]."""
    predicted, confidence = rows.argmax(1), rows.max(1)
    w = np.ones(len(labels)) if weights is None else np.array(weights)
    edges = np.arange(bins + 1) / bins
    bin_of = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    ece, mce = 0.0, 0.0
    for b in range(bins):
        mask = (bin_of == b) & (w > 0)
        if mask.any():
            hit = np.average(predicted[mask] == labels[mask], weights=w[mask])
            gap = abs(hit - np.average(confidence[mask], weights=w[mask]))
            ece += gap * w[mask].sum() / w.sum()
            mce = max(mce, gap)
    return ece, mce


def one_vs_rest(labels, rows, c, weights):
    aucs, precisions, rocs = [], [], []
    for k in range(c):
        y, s = (labels == k).astype(int), rows[:, k]
        # As within roc_auc_score: weightless samples are no samples.
        keep = np.ones(len(y), bool) if weights is None else np.array(weights) > 0
        w = None if weights is None else np.array(weights)
        area = np.nan
        if len(set(y[keep])) == 2:
            area = m.roc_auc_score(y, s, sample_weight=w)
        aucs.append(area)
        has = y[keep].any()
        precisions.append(
            m.average_precision_score(y, s, sample_weight=w) if has else np.nan
        )
        for drop in (True, False):
            f, t, th = m.roc_curve(y, s, sample_weight=w, drop_intermediate=drop)
            p, r, pth = m.precision_recall_curve(
                y, s, sample_weight=w, drop_intermediate=drop
            )
            # A curve by its length and by sums in which every point has its own factor.
            rocs += [len(f), weigh(f), weigh(t), weigh(th[1:])]
            rocs += [len(p), weigh(p), weigh(r), weigh(pth)]
    return aucs, precisions, rocs


def weigh(values):
    return float(np.sum(np.asarray(values) * np.sqrt(np.arange(1, len(values) + 1))))


def answers(number):
    labels, rows, c, weights = draw(number)
    predicted, everyone = rows.argmax(1), list(range(c))
    w = weights
    numbers = [
        m.accuracy_score(labels, predicted, sample_weight=w),
        m.balanced_accuracy_score(labels, predicted, sample_weight=w),
        m.matthews_corrcoef(labels, predicted, sample_weight=w),
    ]
    for kind in (None, "linear", "quadratic"):
        numbers.append(
            m.cohen_kappa_score(
                labels, predicted, weights=kind, labels=everyone, sample_weight=w
            )
        )
    numbers.append(m.log_loss(labels, rows, labels=everyone, sample_weight=w))
    numbers.append(m.brier_score_loss(labels, rows, labels=everyone, sample_weight=w))
    numbers += calibration(labels, rows, w, 1 + number % 15)
    for k in (1, 2, 3) if c > 2 else ():
        numbers.append(
            m.top_k_accuracy_score(labels, rows, k=k, labels=everyone, sample_weight=w)
        )
    # Weightless samples do not make a class present in our confusion matrix.
    keep = np.ones(len(labels), bool) if w is None else np.array(w) > 0
    kept_w = None if w is None else np.array(w)[keep]
    zero = [0, 1, np.nan][number % 3]
    averages = []
    for label_set in (None, everyone):
        for average in ("micro", "macro", "weighted"):
            averages += m.precision_recall_fscore_support(
                labels[keep],
                predicted[keep],
                beta=[1.0, 0.5, 2.0][number % 3 if number % 5 == 0 else 0],
                labels=label_set,
                average=average,
                zero_division=zero,
                sample_weight=kept_w,
            )[:3]
    aucs, precisions, curves = one_vs_rest(labels, rows, c, w)
    both = [np.nan, np.nan]
    if c > 2:
        both = [
            m.roc_auc_score(
                labels, rows, multi_class="ovr", average=average, labels=everyone,
                sample_weight=w,
            )
            for average in ("macro", "weighted")
        ]
    out = {
        "numbers": rounded(numbers),
        "averages": rounded(averages),
        "auc": rounded(aucs + both),
        "ap": rounded(precisions),
    }
    if number % 6 == 0:
        out["curves"] = rounded(curves)
    return out


def fixed(name, labels, predicted, n_classes):
    """Cases whose per-class rows are stored in full."""
    everyone = list(range(n_classes))
    rows = {}
    for zero in (0, 1):
        p, r, f, s = m.precision_recall_fscore_support(
            labels, predicted, labels=everyone, average=None, zero_division=zero
        )
        rows[str(zero)] = [list(map(float, row)) for row in zip(p, r, f, s)]
    return {
        "name": name,
        "labels": labels,
        "predicted": predicted,
        "n_classes": n_classes,
        "confusion": m.confusion_matrix(labels, predicted, labels=everyone).ravel().tolist(),
        "rows": rows,
        "macro_f1": m.f1_score(labels, predicted, average="macro"),
        "macro_f1_all": m.f1_score(labels, predicted, average="macro", labels=everyone),
    }


def main():
    data = {
        "random": [answers(number) for number in range(CASES)],
        "fixed": [
            fixed("perfect", [0, 1, 2, 2], [0, 1, 2, 2], 3),
            fixed("all wrong", [0, 1, 2], [1, 2, 0], 3),
            fixed("a class without samples is predicted", [0, 0, 1, 2], [0, 3, 1, 1], 4),
            fixed("a class is never predicted", [0, 1, 2, 2, 1], [0, 1, 1, 1, 1], 3),
            fixed("one class only", [1, 1, 1], [1, 1, 1], 2),
            fixed("one sample", [0], [1], 2),
        ],
    }
    json.dump(data, sys.stdout, separators=(",", ":"))
    print()


main()
