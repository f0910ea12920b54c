"""Sardonyx beside its peers: the same networks, in turn, each in a process of its own.

    python3 bench/run.py [ROW...] [--quick] [--rounds 5] [--threads 2] [--peers FOLDER] [--list]

A ROW is a name of `--list`, or the start of one: `train`, `predict/mobilenet-v2`; all when none is
given. Medians over the rounds are set beside each other; the ratio is ours to the best peer's, so
that less than 1 is faster (or smaller). Peers that are not installed are left out, and said to be
(`bench/install_peers.sh` installs them). After the first round, peers that take half as long again as
the best one are not measured again. Tables go to bench/results/ as Markdown and JSON.

Needs a release build of `sardonyx` and nothing but Python here.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

from common import BINARY, PEERS, ROOT, Failed, processor, require_binary, run_json, use_cores

# Network, batch and optimizer of the training rows.
TRAIN = [
    ("seed-cnn", 128, "adam"),
    ("mlp", 256, "adam"),
    ("resnet18-32", 16, "sgd"),
    ("mobilenet-v2", 8, "sgd"),
    ("text-transformer", 32, "adam"),
    ("lstm", 64, "adam"),
    ("gru", 64, "adam"),
]
PREDICT = ["seed-cnn", "mlp", "resnet18-32", "resnet50", "mobilenet-v2", "text-transformer"]
PREDICT_BATCHES = [1, 32]
START = "mobilenet-v2"
# Nodes of the graph whose planning is timed.
PLANNED_NODES = 5000
# Peer: folder of its environment, script, mode.
TRAIN_PEERS = {
    "pytorch": ("torch", "train_torch.py", "eager"),
    "pytorch channels-last": ("torch", "train_torch.py", "channels-last"),
    "pytorch compiled": ("torch", "train_torch.py", "compile"),
    "tensorflow": ("tensorflow", "train_tensorflow.py", "graph"),
    "tensorflow xla": ("tensorflow", "train_tensorflow.py", "xla"),
    "jax": ("jax", "train_jax.py", "jit"),
}
IMAGES = {"seed-cnn", "resnet18-32", "mobilenet-v2"}
PREDICT_PEERS = ["onnxruntime", "openvino"]
OURS = "sardonyx"
# Outputs of the same file must agree to this, relative where they are above 1.
TOLERANCE = 1e-4
# Peers that took this much longer than the best peer in the first round are not measured again.
HOPELESS = 1.5
TIMEOUT_SECONDS = 300


@dataclass
class Row:
    """A line of the table: what is compared, and who takes part."""

    name: str
    # Each entrant's name with what measures it once.
    entrants: dict[str, Callable[[], dict]]
    # Key of the measurement that is compared, and whether it is a size instead of a time.
    key: str = "median_ms"
    results: dict[str, list[dict]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def value(self, entrant: str, key: str | None = None) -> float:
        return statistics.median(result[key or self.key] for result in self.results[entrant])

    def best_peer(self) -> str | None:
        peers = [name for name in self.results if not name.startswith(OURS)]
        return min(peers, key=self.value, default=None)

    def ratio(self) -> float | None:
        best = self.best_peer()
        return self.value(OURS) / self.value(best) if best and OURS in self.results else None


class Bench:
    """What all rows need: how long to measure, where the peers are, model files."""

    def __init__(self, args: argparse.Namespace, folder: pathlib.Path) -> None:
        self.args, self.folder = args, folder
        self.seconds = 1.0 if args.quick else 4.0
        self.files: dict[str, pathlib.Path] = {}
        self.missing: set[str] = set()
        self.versions: dict[str, str] = {}

    def file(self, network: str) -> pathlib.Path:
        """A file of the zoo's network; its scores as they are, since softmax hides differences."""
        if network not in self.files:
            path = self.folder / f"{network}.onnx"
            run_json([self.args.binary, "new", network, "--logits", "-o", path, "--json"])
            self.files[network] = path
        return self.files[network]

    def ours(self, *arguments: object, threads: int | None = None) -> dict:
        words = ["--threads", threads or self.args.threads, "--seconds", self.seconds]
        return run_json([self.args.binary, "bench", *arguments, *words, "--json", "--quiet"], timeout=TIMEOUT_SECONDS)

    def python(self, environment: str) -> pathlib.Path | None:
        """The interpreter of a peer's environment, if it is installed."""
        python = self.args.peers / environment / "bin" / "python"
        if python.exists():
            return python
        self.missing.add(environment)
        return None

    def peer(self, python: pathlib.Path, name: str, script: str, *arguments: object) -> dict:
        words = ["--seconds", self.seconds, "--threads", self.args.threads]
        result = run_json([python, PEERS / script, *arguments, *words], timeout=TIMEOUT_SECONDS)
        self.versions[name] = result["version"]
        return result

    def train(self, network: str, batch: int, optimizer: str) -> Row:
        arguments = [network, "--train", "--batch", batch, "--optimizer", optimizer]
        entrants = {
            OURS: lambda: self.ours(*arguments),
            f"{OURS}, 1 thread": lambda: self.ours(*arguments, threads=1),
        }
        for name, (environment, script, mode) in TRAIN_PEERS.items():
            python = self.python(environment)
            if python and (mode != "channels-last" or network in IMAGES):
                words = (python, name.split()[0], script, network, mode, "--batch", batch)
                entrants[name] = lambda words=words: self.peer(*words)
        return Row(f"train/{network}/{batch}", entrants)

    def predict(self, network: str, batch: int) -> Row:
        path, check = self.file(network), self.folder / f"{network}-{batch}"
        entrants = {OURS: lambda: self.ours(path, "--batch", batch, "--save", check)}
        python = self.python("onnx")
        for name in PREDICT_PEERS if python else []:
            entrants[name] = lambda name=name: self.agreeing(python, name, path, check)
        return Row(f"predict/{network}/{batch}", entrants)

    def agreeing(self, python: pathlib.Path, name: str, path: pathlib.Path, check: pathlib.Path) -> dict:
        result = self.peer(python, name, "predict_onnx.py", name, path, check)
        if not result["difference"] <= TOLERANCE:
            raise Failed(f"its prediction differs by {result['difference']:.1e}")
        return result

    def start(self) -> Row:
        """From a file to the end of the first prediction, in a process that has just started."""
        path, check = self.file(START), self.folder / "start"
        entrants = {OURS: lambda: self.ours(path, "--runs", 1, "--top", 0, "--no-peak", "--save", check)}
        python = self.python("onnx")
        for name in PREDICT_PEERS if python else []:
            entrants[name] = lambda name=name: self.agreeing(python, name, path, check)
        return Row(f"start/{START}", entrants, key="first_ms")

    def plan(self, task: str) -> Row:
        """Planning a large graph; ONNX Runtime loads it."""
        python, path = self.python("onnx"), self.folder / "deep.onnx"
        if not python:
            return Row(f"plan/{task}", {})
        if not path.exists():
            run_json([python, PEERS / "deep_graph.py", path, PLANNED_NODES])
        arguments = [path, "--runs", 1, "--top", 0, "--no-peak", *(["--train"] if task == "train" else [])]
        return Row(f"plan/{task}", {OURS: lambda: self.ours(*arguments)}, key="plan_ms")

    def rows(self) -> dict[str, Callable[[], Row]]:
        rows: dict[str, Callable[[], Row]] = {}
        for network, batch, optimizer in TRAIN:
            rows[f"train/{network}/{batch}"] = lambda row=(network, batch, optimizer): self.train(*row)
        for network in PREDICT:
            for batch in PREDICT_BATCHES:
                rows[f"predict/{network}/{batch}"] = lambda row=(network, batch): self.predict(*row)
        rows[f"start/{START}"] = self.start
        for task in ("predict", "train"):
            rows[f"plan/{task}"] = lambda task=task: self.plan(task)
        return rows


def measure(row: Row, rounds: int) -> None:
    """A B A B ...: every entrant once in each round."""
    given_up: set[str] = set()
    for index in range(rounds):
        for name, entrant in row.entrants.items():
            if name in given_up:
                continue
            try:
                result = entrant()
            except Failed as problem:
                row.failures[name] = str(problem)
                given_up.add(name)
                continue
            row.results.setdefault(name, []).append(result)
            print(f"{row.name:28} round {index + 1} {name:24} {result[row.key]:10.3f}", file=sys.stderr, flush=True)
        best = row.best_peer()
        if best:
            peers = (name for name in row.results if not name.startswith(OURS))
            given_up |= {name for name in peers if row.value(name) > HOPELESS * row.value(best)}
    sizes = {result["parameters"] for results in row.results.values() for result in results if "parameters" in result}
    if len(sizes) > 1:
        row.notes.append(f"parameters: {', '.join(f'{size:,}' for size in sorted(sizes))}")


def markdown(rows: list[Row], head: list[str]) -> str:
    lines = ["# Sardonyx beside its peers", "", *head, ""]
    kinds = [("train", "Training step"), ("predict", "Prediction"), ("start", "File to first prediction")]
    for kind, title in kinds:
        own = [row for row in rows if row.name.startswith(kind + "/") and OURS in row.results]
        if own:
            lines += [f"## {title}, ms", "", "| row | ours (least) | best peer (least) | ratio | all peers |"]
            lines += ["| --- | ---: | --- | ---: | --- |", *map(time_line, own), ""]
    trained = [row for row in rows if row.name.startswith("train/") and OURS in row.results]
    if trained:
        lines += ["## Memory of the whole process in training, MiB", "", "| row | ours | least of the peers | ratio |"]
        lines += ["| --- | ---: | --- | ---: |", *map(memory_line, trained), ""]
        lines += ["## Strong scaling of ours", "", "| row | 1 thread, ms | all threads, ms | faster |"]
        lines += ["| --- | ---: | ---: | ---: |", *map(scaling_line, trained), ""]
    planned = [row for row in rows if row.name.startswith("plan/") and OURS in row.results]
    if planned:
        lines += [f"## Planning a graph of {PLANNED_NODES:,} nodes, ms", "", "| row | ours |", "| --- | ---: |"]
        lines += [*(f"| {row.name} | {row.value(OURS):.0f} |" for row in planned), ""]
    notes = [f"- {row.name}: {note}" for row in rows for note in row.notes]
    notes += [f"- {row.name}: {who} left out: {why}" for row in rows for who, why in row.failures.items()]
    return "\n".join([*lines, *(["## Notes", "", *notes, ""] if notes else [])])


def least(row: Row, name: str) -> float:
    key = {"median_ms": "min_ms"}.get(row.key, row.key)
    return min(result[key] for result in row.results[name])


def time_line(row: Row) -> str:
    both = lambda name: f"{row.value(name):.3f} ({least(row, name):.3f})"
    best, ratio = row.best_peer(), row.ratio()
    peers = [name for name in row.results if not name.startswith(OURS)]
    others = ", ".join(f"{name} {row.value(name):.3f}" for name in sorted(peers, key=row.value))
    peer = f"{best} {both(best)}" if best else "-"
    return f"| {row.name} | {both(OURS)} | {peer} | {f'**{ratio:.2f}**' if ratio else '-'} | {others} |"


def memory_line(row: Row) -> str:
    peers = [name for name in row.results if not name.startswith(OURS)]
    ours = row.value(OURS, "max_rss")
    best = min(peers, key=lambda name: row.value(name, "max_rss"), default=None)
    if not best:
        return f"| {row.name} | {ours / 2**20:.0f} | - | - |"
    theirs = row.value(best, "max_rss")
    return f"| {row.name} | {ours / 2**20:.0f} | {best} {theirs / 2**20:.0f} | {ours / theirs:.2f} |"


def scaling_line(row: Row) -> str:
    single = f"{OURS}, 1 thread"
    if single not in row.results:
        return f"| {row.name} | - | {row.value(OURS):.3f} | - |"
    one, all_threads = row.value(single), row.value(OURS)
    return f"| {row.name} | {one:.3f} | {all_threads:.3f} | {one / all_threads:.2f}x |"


def as_json(rows: list[Row], head: list[str], versions: dict[str, str]) -> dict:
    return {
        "head": head,
        "versions": versions,
        "rows": [
            {"name": row.name, "ratio": row.ratio(), "best_peer": row.best_peer(), "key": row.key}
            | {"results": row.results, "failures": row.failures, "notes": row.notes}
            for row in rows
        ],
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="two rounds of a second each")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", type=pathlib.Path, default=ROOT / "target/peers")
    parser.add_argument("--binary", type=pathlib.Path, default=BINARY)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "bench/results")
    parser.add_argument("--date", default=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"))
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    return parser.parse_args()


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, pathlib.Path(folder))
        known = bench.rows()
        if args.list:
            print("\n".join(known))
            return
        names = [name for name in known if not args.rows or any(name.startswith(row) for row in args.rows)]
        if not names:
            sys.exit(f"no row starts with {', '.join(args.rows)}; hint: --list names them")
        require_binary(args.binary)
        use_cores(args.threads)
        rounds = args.rounds or (2 if args.quick else 5)
        rows = []
        for name in names:
            rows.append(known[name]())
            measure(rows[-1], rounds)
    version = run_json([args.binary, "doctor", "--no-measure", "--json"])["version"]
    versions = dict(sorted({OURS: version, **bench.versions}.items()))
    head = [f"{args.date}, {processor()}, {args.threads} threads, {rounds} rounds in turn: medians of their medians."]
    head.append("Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    if bench.missing:
        head.append(f"Not installed: {', '.join(sorted(bench.missing))} (`bench/install_peers.sh`).")
    text = markdown(rows, head)
    print(text)
    args.output.mkdir(parents=True, exist_ok=True)
    stem = f"{args.date}-{'quick' if args.quick else 'full'}"
    (args.output / f"{stem}.md").write_text(text)
    (args.output / f"{stem}.json").write_text(json.dumps(as_json(rows, head, versions), indent=1) + "\n")


if __name__ == "__main__":
    main()
