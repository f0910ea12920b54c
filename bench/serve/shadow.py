"""What a shadow that sleeps does to the version that answers: p99 without a shadow and beside one, in turn.

    python3 bench/serve/shadow.py MODEL.onnx [--seconds 5] [--rounds 5] [--connections 8] [--name x]

The thread that runs copies for shadows is held in each wait by strace, so that it sleeps for as long
as the load lasts; MODEL is as in run.py. Needs a release build of `sardonyx`, wrk, strace and the
right to trace.
"""

import argparse
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import run
from common import BINARY, Failed, require_binary

# Of each wait, in microseconds: longer than any load here.
SLEEP_US = 60_000_000


def thread_of(process: int, name: str) -> int:
    for task in pathlib.Path(f"/proc/{process}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise Failed(f"the server has no thread called {name}")


def order(port: int, rollout: dict) -> None:
    url = f"http://127.0.0.1:{port}/admin/v1/models/model/rollout"
    request = urllib.request.Request(url, json.dumps(rollout).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def dropped(port: int) -> float:
    """Copies that found no room because the shadow sleeps."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if "shadow" in line and 'result="dropped"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def wait_until_ready(port: int) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise Failed("the server is not ready")


def measure(options: argparse.Namespace, ports: list[int], server: int, body: run.Body) -> dict:
    """p99 of each round in microseconds, without a shadow and with one that sleeps."""
    plain = {"weights": {"1": 1}}
    seen: dict = {"alone": [], "asleep": []}
    run.load(ports[0], body, 16, 1)
    for _ in range(options.rounds):
        order(ports[1], plain)
        alone = run.load(ports[0], body, options.connections, options.seconds)
        words = ["strace", "-qq", "-o", "/dev/null", "-p", thread_of(server, "shadow")]
        words += ["-e", "trace=futex", "-e", f"inject=futex:delay_enter={SLEEP_US}"]
        tracer = subprocess.Popen([str(word) for word in words])
        time.sleep(0.3)
        order(ports[1], {**plain, "shadow": {"version": 2}})
        try:
            before = dropped(ports[0])
            asleep = run.load(ports[0], body, options.connections, options.seconds)
            if dropped(ports[0]) == before:
                raise Failed("the shadow did not sleep: no copy was dropped")
        finally:
            tracer.send_signal(signal.SIGKILL)
            tracer.wait()
        for name, one in (("alone", alone), ("asleep", asleep)):
            seen[name].append(one["p99"])
            print(f"{name}: {one}", flush=True)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--name", default="x", help="of the input")
    options = parser.parse_args()
    require_binary(BINARY)
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        for version in ("1", "2"):
            (folder / "models/model" / version).mkdir(parents=True)
            shutil.copy(options.model, folder / "models/model" / version / "model.onnx")
        (folder / "serve.toml").write_text(
            f'[[model]]\nname = "model"\npath = "{folder}/models/model"\nversions = "all"\n'
        )
        ports = [run.free_port(), run.free_port()]
        words = [BINARY, "serve", "--config", folder / "serve.toml", "--host", "127.0.0.1", "--quiet"]
        words += ["--http-port", ports[0], "--grpc-port", 0, "--admin-port", ports[1]]
        server = subprocess.Popen([str(word) for word in words])
        try:
            wait_until_ready(ports[0])
            body = run.write_bodies(folder, options.name)["v2 binary"]
            seen = measure(options, ports, server.pid, body)
        finally:
            server.kill()
            server.wait()
    alone, asleep = (statistics.median(seen[name]) for name in ("alone", "asleep"))
    print(f"p99 of the champion, us: alone {alone:.0f}, shadow asleep {asleep:.0f}: {asleep / alone - 1:+.1%}")


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(str(error))
