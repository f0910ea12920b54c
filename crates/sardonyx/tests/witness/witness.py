"""Looks at what sardonyx left in the current folder with software that is not sardonyx.

    python witness.py run            a run on the digits: model and measures
    python witness.py trained CASE   a model that was trained on from another framework's export
    python witness.py report FILE    the report of a run

Fails on the first thing that is wrong.
"""

import html.parser
import json
import pathlib
import sys


def load(name):
    return json.loads(pathlib.Path(f"{name}.json").read_text())


def session(path):
    """The model passes the full check and opens in ONNX Runtime."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(onnx.load(path), full_check=True)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def outside(path, x):
    """Probabilities of ONNX Runtime for raw samples."""
    import numpy as np

    model = session(path)
    [fed] = model.get_inputs()
    [scores] = model.run([model.get_outputs()[0].name], {fed.name: x.astype(np.float32)})
    assert scores.dtype == np.float32, scores.dtype
    if (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return scores
    wide = scores.astype(np.float64)
    wide = np.exp(wide - wide.max(axis=1, keepdims=True))
    return (wide / wide.sum(axis=1, keepdims=True)).astype(np.float32)


def inside(report):
    """Probabilities that sardonyx told, in the order of the classes."""
    import numpy as np

    rows = [sorted(one["top"], key=lambda choice: choice["index"]) for one in report["predictions"]]
    assert all([choice["index"] for choice in row] == list(range(len(row))) for row in rows)
    return np.array([[choice["probability"] for choice in row] for row in rows])


def agree(name, report, expected):
    """A value of a report, by its path, is the expected one."""
    value = report
    for key in name.split("."):
        value = value[key]
    assert abs(value - expected) <= 1e-6, f"{name}: {value}, expected {expected}"


def measures(report, labels, probabilities):
    """The measures of a report are those of scikit-learn."""
    from sklearn import metrics

    predicted = probabilities.argmax(axis=1)
    average = {"average": "macro", "zero_division": 0}
    expected = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "macro.f1": metrics.f1_score(labels, predicted, **average),
        "macro.precision": metrics.precision_score(labels, predicted, **average),
        "macro.recall": metrics.recall_score(labels, predicted, **average),
        "matthews_correlation": metrics.matthews_corrcoef(labels, predicted),
        "cohen_kappa": metrics.cohen_kappa_score(labels, predicted),
        "log_loss": metrics.log_loss(labels, probabilities),
        "roc_auc_macro": metrics.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "top_5_accuracy": metrics.top_k_accuracy_score(labels, probabilities, k=5),
    }
    assert report["n_samples"] == len(labels)
    for name, value in expected.items():
        agree(name, report, value)


def check_run():
    import numpy as np
    from sklearn.datasets import load_digits

    model = "runs/run/model.onnx"
    labels = np.load("test_y.npy")
    told = inside(load("predict"))
    probabilities = outside(model, np.load("test_x.npy"))
    assert len(labels) == len(told) == load("train")["samples"]["test"] > 300
    np.testing.assert_allclose(told, probabilities, rtol=0, atol=1e-5)
    measures(load("eval"), labels, probabilities)

    digits = load_digits()
    everything = outside(model, digits.images[:, None])
    measures(load("digits"), digits.target, everything)
    # The test samples are digits of scikit-learn's, with their classes.
    known = {image.tobytes(): label for image, label in zip(digits.data, digits.target)}
    rows = np.load("test_x.npy").astype(np.float64).reshape(len(labels), -1)
    assert [known[row.tobytes()] for row in rows] == labels.tolist()


def check_trained(case):
    import numpy as np

    told = inside(load("predict"))
    probabilities = outside("runs/run/model.onnx", np.load("data/x.npy"))
    np.testing.assert_allclose(told, probabilities, rtol=0, atol=1e-5, err_msg=case)
    labels = np.load("data/y.npy")
    agree("accuracy", load("eval"), (probabilities.argmax(axis=1) == labels).mean())


class Page(html.parser.HTMLParser):
    """Every element that is opened is closed, in order, and no attribute comes twice."""

    VOID = {
        *("area", "base", "br", "col", "embed", "hr", "img", "input"),
        *("link", "meta", "source", "track", "wbr"),
    }
    LOADING = {"src", "href", "xlink:href", "data", "action", "srcset", "poster"}

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids, self.targets = [], set(), set(), set()

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (self.getpos(), tag, names)
        self.seen.add(tag)
        for name, value in attributes:
            if name == "id":
                assert value not in self.ids, f"two elements are {value}"
                self.ids.add(value)
            if name in self.LOADING:
                assert value.startswith(("#", "data:image/")), (self.getpos(), name, value[:80])
                if value.startswith("#"):
                    self.targets.add(value[1:])
            assert not name.startswith("on"), (self.getpos(), name)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (self.getpos(), tag, self.open)


def check_report(path):
    page = Page()
    page.feed(pathlib.Path(path).read_text(encoding="utf-8"))
    page.close()
    assert not page.open, page.open
    assert {"html", "head", "title", "body", "svg", "table"} <= page.seen, page.seen
    assert page.targets <= page.ids, page.targets - page.ids


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    {"run": check_run, "trained": check_trained, "report": check_report}[kind](*arguments)
    print("checked", kind, *arguments)
