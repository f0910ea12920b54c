"""Fashion-MNIST with the seed network: accuracy over several seeds, scored by ONNX Runtime in this
process, and an epoch's wall time side by side with Keras.

    python bench/fashion_mnist.py [--data FOLDER] [--epochs 5 10] [--seeds 0 1 2] [--keras PYTHON]

Needs numpy and onnxruntime here, tensorflow in the PYTHON given, and a release build of `sardonyx`.
"""

import argparse
import gzip
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
KERAS = """
import sys, time, gzip, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(2)
read = lambda name, skip: np.frombuffer(gzip.open(f"{sys.argv[1]}/{name}").read(), np.uint8, offset=skip)
x = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1).astype("float32") / 127.5 - 1
y = read("train-labels-idx1-ubyte.gz", 8)
L = tf.keras.layers
model = tf.keras.Sequential([L.Input((28, 28, 1)), L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(),
    L.Conv2D(64, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dense(128, activation="relu"), L.Dense(10)])
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
for _ in range(3):
    start = time.perf_counter()
    model.fit(x[:54000], y[:54000], batch_size=128, epochs=1, verbose=0)
    print("epoch", time.perf_counter() - start, flush=True)
"""


def images(path: pathlib.Path, skip: int) -> np.ndarray:
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=skip)


def score(model: pathlib.Path, data: pathlib.Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = images(data / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32)
    y = images(data / "t10k-labels-idx1-ubyte.gz", 8)
    name = session.get_inputs()[0].name
    out = np.concatenate([session.run(None, {name: x[i : i + 500]})[0] for i in range(0, len(x), 500)])
    return float((out.argmax(1) == y).mean())


def train(binary: pathlib.Path, data: pathlib.Path, epochs: int, seed: int) -> tuple[float, float]:
    """Test accuracy by ONNX Runtime and the median epoch's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        keys = [f"train.epochs={epochs}", "train.batch=128", f"train.seed={seed}", f"run.dir={folder}", "run.name=it"]
        keys += ['train.schedule={name="cosine"}', "train.optimizer.lr=0.002"]
        command = [binary, "train", "--model", "seed-cnn", "--data", data, *keys]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            sys.exit(done.stderr)
        times = re.findall(r"^epoch.* ([0-9.]+) s\b", done.stderr, re.M)
        return score(pathlib.Path(folder) / "it" / "model.onnx", data), statistics.median(map(float, times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/sardonyx")
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keras", help="a python with tensorflow, for the side-by-side epoch time")
    args = parser.parse_args()
    ours = []
    for epochs in args.epochs:
        results = [train(args.binary, args.data, epochs, seed) for seed in args.seeds]
        ours += [seconds for _, seconds in results]
        accuracies = [accuracy for accuracy, _ in results]
        shown = ", ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        print(f"{epochs} epochs: mean accuracy {statistics.mean(accuracies):.4f} ({shown})", flush=True)
    print(f"epoch of 54,000 images: {statistics.median(ours):.2f} s")
    if args.keras:
        done = subprocess.run([args.keras, "-c", KERAS, args.data], capture_output=True, text=True)
        times = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("epoch")]
        keras = statistics.median(times[1:])
        print(f"the same in Keras: {keras:.2f} s; ratio {statistics.median(ours) / keras:.2f}")


if __name__ == "__main__":
    main()
