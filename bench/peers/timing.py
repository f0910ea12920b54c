"""What all peers share: the clock, and the one line of JSON in which they answer."""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable

START = time.perf_counter()
WARM_UP_RUNS = 4


def arguments(*names: str) -> argparse.Namespace:
    """The arguments of a peer: the given ones, then how long and on how many threads to measure."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(name)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    return parser.parse_args()


def measure(run: Callable[[], object], seconds: float) -> dict:
    """Times `run`: first, then after some rounds to warm up as often as fits, five times at least."""
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    for _ in range(WARM_UP_RUNS - 1):
        run()
    times = []
    begin = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {
        "median_ms": 1e3 * statistics.median(times),
        "min_ms": 1e3 * min(times),
        "first_run_ms": 1e3 * first,
        "n_runs": len(times),
    }


def answer(**results: object) -> None:
    results["max_rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(results), flush=True)
