"""Instructions that fixed small workloads take, beside those that were last accepted.

    python3 bench/instructions.py [--accept] [--binary FILE]

Times differ from run to run, counts (of valgrind's callgrind) hardly do: a drift of more than 5 % is
named. That is for people to judge, not a failure; `--accept` writes bench/instructions.json anew.

A run is a training step or a prediction; a start is everything before: reading, planning, packing.
Needs valgrind, a release build of `sardonyx`, and a processor with AVX2, which is what is counted.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from common import BINARY, ROOT, Failed, require_binary, run_json

ACCEPTED = ROOT / "bench/instructions.json"
ISA = "avx2"
# A drift beyond this share is named.
DRIFT = 0.05
WORKLOADS = {
    "train/seed-cnn/8": ["seed-cnn", "--train", "--batch", 8],
    "predict/mlp/8": ["mlp", "--batch", 8],
    "predict/text-transformer/1": ["text-transformer", "--batch", 1],
}
# Runs that `bench` makes besides those that it is asked for: the first one and two to warm up.
OTHER_RUNS = 3
MEASURED_RUNS = (1, 5)
TIMEOUT_SECONDS = 300


def count(binary: pathlib.Path, arguments: list, runs: int, folder: str) -> int:
    """Instructions of a whole process that makes `runs` runs."""
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/{runs}.out"]
    work = ["bench", *arguments, "--runs", runs, "--threads", 1, "--isa", ISA, "--top", 0, "--no-peak", "--quiet"]
    words = [str(word) for word in [*tool, binary, *work]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise Failed(done.stderr.strip().splitlines()[-1])
    return int(found.group(1))


def measure(binary: pathlib.Path, arguments: list, folder: str) -> dict[str, int]:
    with ThreadPoolExecutor() as both:
        few, many = both.map(lambda runs: count(binary, arguments, runs, folder), MEASURED_RUNS)
    run = (many - few) // (MEASURED_RUNS[1] - MEASURED_RUNS[0])
    return {"run": run, "start": few - (MEASURED_RUNS[0] + OTHER_RUNS) * run}


def line(name: str, part: str, now: int, before: int | None) -> str:
    text = f"{name:28} {part:6} {now:>15,}"
    if before is None:
        return f"{text}  new"
    change = now / before - 1
    verdict = f"  DRIFT of more than {DRIFT:.0%}" if abs(change) > DRIFT else ""
    return f"{text}  was {before:>15,}  {change:+7.2%}{verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="keep these counts to compare later ones with")
    parser.add_argument("--binary", type=pathlib.Path, default=BINARY)
    args = parser.parse_args()
    require_binary(args.binary)
    if not shutil.which("valgrind"):
        print("instructions are not counted: valgrind is not installed")
        return
    if ISA not in run_json([args.binary, "doctor", "--no-measure", "--json"])["isas_available"]:
        print(f"instructions are not counted: this processor does not have {ISA}")
        return
    accepted = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in WORKLOADS.items():
            try:
                counts[name] = measure(args.binary, arguments, folder)
            except (Failed, subprocess.TimeoutExpired) as problem:
                sys.exit(f"{name}: {problem}")
            for part, now in counts[name].items():
                print(line(name, part, now, accepted.get(name, {}).get(part)), flush=True)
    if args.accept:
        ACCEPTED.write_text(json.dumps(counts, indent=2) + "\n")


if __name__ == "__main__":
    main()
