"""Sardonyx and other model servers under the same load, in turn.

    python3 bench/serve/run.py MODEL.onnx [--peers FOLDER] [--seconds 5] [--rounds 3] [--connections 64]

MODEL has one input, N x 1 x 28 x 28 of float32, and one output. Each row of the table is one form of
request, one sample a request, the same bytes to every server; medians over the rounds. Load comes from
wrk on the same machine. A peer is measured when FOLDER (bench/install_peers.sh fills it) has its
environment, and left out, and said to be, when not. Tables go to bench/results/serve.md and .json.

Needs a release build of `sardonyx`, wrk, h2load, and nothing but Python here.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import BINARY, ROOT, Failed, processor, require_binary, run, run_json  # noqa: E402

OURS = "sardonyx"
SHAPE = [1, 1, 28, 28]
READY_SECONDS = 90
V1 = "/v1/models/model:predict"
V2 = "/v2/models/model/infer"
# What each server can be asked.
FORMS = {
    OURS: ["v1 json", "v2 json", "v2 binary"],
    "triton": ["v2 json", "v2 binary"],
    "mlserver": ["v2 json"],
    "fastapi": ["v1 json"],
    "kserve": ["v1 json"],
}
# Requests are refused, not queued, beyond this many: overload must not become latency.
OVERLOAD_QUEUE = 64


@dataclass
class Body:
    """A request as bytes, and how wrk sends it."""

    path: str
    file: pathlib.Path
    header_bytes: int = 0

    def arguments(self) -> list[str]:
        header = [str(self.header_bytes)] if self.header_bytes else []
        return [str(self.file), *header]


def nested(values: list, shape: list[int]) -> list:
    """The values as lists of lists."""
    if len(shape) == 1:
        return values
    size = len(values) // shape[0]
    return [nested(values[at : at + size], shape[1:]) for at in range(0, len(values), size)]


def write_bodies(folder: pathlib.Path, name: str, shape: list[int] = SHAPE) -> dict[str, Body]:
    """The same sample in every form."""
    values = [(index * 7919 % 256) / 255 for index in range(math.prod(shape))]
    tensor = {"name": name, "shape": shape, "datatype": "FP32"}
    raw = struct.pack(f"<{len(values)}f", *values)
    header = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(header, separators=(",", ":")).encode()
    contents = {
        "v1 json": (V1, json.dumps({"instances": nested(values, shape)}).encode(), 0),
        "v2 json": (V2, json.dumps({"inputs": [{**tensor, "data": values}]}).encode(), 0),
        "v2 binary": (V2, head + raw, len(head)),
    }
    bodies = {}
    for form, (path, content, header_bytes) in contents.items():
        file = folder / form.replace(" ", "_")
        file.write_bytes(content)
        bodies[form] = Body(path, file, header_bytes)
    return bodies


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def triton_command(home: pathlib.Path, folder: pathlib.Path, names: tuple) -> tuple[list, dict]:
    """Triton out of the wheel of nvidia-pytriton, with its Python backend."""
    site = next(home.glob("lib/python3*/site-packages"))
    parts = site / "pytriton"
    backends = folder / "backends/python"
    shutil.copytree(parts / "tritonserver/backends/python", backends, dirs_exist_ok=True)
    version = site.parent.name.removeprefix("python")
    stub = parts / f"tritonserver/python_backend_stubs/{version}/triton_python_backend_stub"
    shutil.copy(stub, backends)
    (backends / stub.name).chmod(0o755)
    repository = folder / "repository/model"
    (repository / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "peers/triton_model.py", repository / "1/model.py")
    (repository / "config.pbtxt").write_text(
        'name: "model"\nbackend: "python"\nmax_batch_size: 64\ndynamic_batching { }\n'
        f'input [ {{ name: "{names[0]}" data_type: TYPE_FP32 dims: [ 1, 28, 28 ] }} ]\n'
        f'output [ {{ name: "{names[1]}" data_type: TYPE_FP32 dims: [ 10 ] }} ]\n'
        "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
    )
    library = subprocess.run(
        [home / "bin/python", "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    program = [parts / "tritonserver/bin/tritonserver", f"--model-repository={repository.parent}"]
    program += [f"--backend-directory={backends.parent}", "--http-address=127.0.0.1"]
    program += ["--allow-grpc=false", "--allow-metrics=false", "--log-verbose=0"]
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    libraries = f"{site / 'nvidia_pytriton.libs'}:{library}"
    return program, {"PATH": path, "PYTHONPATH": str(site), "LD_LIBRARY_PATH": libraries}


def mlserver_command(home: pathlib.Path, folder: pathlib.Path, port: int) -> list:
    place = folder / "mlserver"
    place.mkdir(exist_ok=True)
    shutil.copy(HERE / "peers/mlserver_runtime.py", place)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,
    }
    (place / "settings.json").write_text(json.dumps(settings))
    model = {"name": "model", "implementation": "mlserver_runtime.OnnxModel"}
    (place / "model-settings.json").write_text(json.dumps(model))
    return [home / "bin/mlserver", "start", place]


def command(name: str, options: argparse.Namespace, folder: pathlib.Path, port: int) -> tuple:
    """What starts the server `name` on `port`, and its environment."""
    model = options.model.resolve()
    home = options.peers.resolve() / name
    peers = HERE / "peers"
    if name == OURS:
        words = [BINARY, "serve", model, "--name", "model", "--host", "127.0.0.1", "--quiet"]
        words += ["--http-port", port, "--grpc-port", 0, "--admin-port", 0]
        words += ["--max-queue", options.max_queue]
        return words, {}
    if name == "triton":
        words, environment = triton_command(home, folder, options.names)
        return [*words, f"--http-port={port}"], {**environment, "MODEL": str(model)}
    if name == "mlserver":
        return mlserver_command(home, folder, port), {"MODEL": str(model)}
    python = home / "bin/python"
    if name == "kserve":
        return [python, peers / "kserve_server.py", model, port, free_port()], {}
    return [python, peers / "fastapi_server.py", model, port], {}


def post(port: int, body: Body) -> int:
    headers = {"Content-Type": "application/json"}
    if body.header_bytes:
        headers["Content-Type"] = "application/octet-stream"
        headers["Inference-Header-Content-Length"] = str(body.header_bytes)
    url = f"http://127.0.0.1:{port}{body.path}"
    request = urllib.request.Request(url, body.file.read_bytes(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


@contextlib.contextmanager
def running(name: str, options: argparse.Namespace, probe: Body) -> Iterator[int]:
    """The server, once it answers `probe`; gone with the block."""
    port = free_port()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        words, environment = command(name, options, folder, port)
        log = (folder / "log").open("w+")
        process = subprocess.Popen(
            [str(word) for word in words],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            start = time.monotonic()
            while True:
                with contextlib.suppress(OSError, urllib.error.URLError):
                    if post(port, probe) == 200:
                        break
                if process.poll() is not None or time.monotonic() > start + READY_SECONDS:
                    log.seek(0)
                    raise Failed(f"{name} does not answer: {log.read()[-2000:].strip()}")
                time.sleep(0.05)
            yield port
        finally:
            # Servers with workers are process groups.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log.close()


def load(port: int, body: Body, connections: int, seconds: int) -> dict:
    """What wrk saw, with requests that were answered well a second as `rate`."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", HERE / "body.lua"]
    url = f"http://127.0.0.1:{port}{body.path}"
    seen = run_json([*words, url, "--", *body.arguments()], timeout=seconds + 60)
    seen["rate"] = (seen["requests"] - seen["refused"]) / seen["seconds"]
    return seen


def measure(options: argparse.Namespace, bodies: dict[str, Body], servers: list[str]) -> dict:
    """Rows: for each form and number of connections, what each server made of it."""
    seen: dict = {}
    for turn in range(options.rounds):
        for name in list(servers):
            probe = bodies[FORMS[name][0]]
            try:
                with running(name, options, probe) as port:
                    for form in FORMS[name]:
                        load(port, bodies[form], 16, 1)
                        for connections in (1, options.connections):
                            found = load(port, bodies[form], connections, options.seconds)
                            row = seen.setdefault(f"{form}, {connections}", {})
                            row.setdefault(name, []).append(found)
                            print(f"{turn + 1} {name}, {form}, {connections}: {found}", flush=True)
            except Failed as error:
                print(f"{error}", file=sys.stderr)
                servers.remove(name)
    keys = ["rate", "p50", "p99", "refused", "broken"]
    return {
        row: {
            name: {key: statistics.median(one[key] for one in found) for key in keys}
            for name, found in servers.items()
        }
        for row, servers in seen.items()
    }


def overload(options: argparse.Namespace, bodies: dict[str, Body]) -> dict:
    """Well-answered requests a second at the load that is most, and at three times as many clients
    as fill the queue."""
    options.max_queue = OVERLOAD_QUEUE
    body = bodies["v2 binary"]
    with running(OURS, options, body) as port:
        load(port, body, 16, 1)
        peak = load(port, body, OVERLOAD_QUEUE // 2, options.seconds)
        over = load(port, body, 3 * OVERLOAD_QUEUE, options.seconds)
    return {"peak": peak, "overload": over, "goodput": over["rate"] / peak["rate"]}


def paced(port: int, body: Body, rate: float, seconds: int) -> dict:
    """What h2load saw of `rate` requests a second, whether or not they are answered well."""
    clients = 4 * OVERLOAD_QUEUE
    words = ["h2load", "--h1", "-t1", f"-c{clients}", f"-D{seconds}", f"--rps={rate / clients:.3f}"]
    words += ["-d", body.file, "-H", "Content-Type: application/octet-stream"]
    words += ["-H", f"Inference-Header-Content-Length: {body.header_bytes}"]
    text = run([*words, f"http://127.0.0.1:{port}{body.path}"], timeout=seconds + 60)
    codes = re.search(r"status codes: (\d+) 2xx, \d+ 3xx, (\d+) 4xx, (\d+) 5xx", text)
    if not codes:
        raise Failed(f"h2load says nothing of status codes: {text[-300:]}")
    good, refused, failed = map(int, codes.groups())
    return {"rate": good / seconds, "refused": refused, "failed": failed}


def overload_of_heavy(options: argparse.Namespace, folder: pathlib.Path) -> dict:
    """The same with a model whose requests cost far more than the client does, asked at three times
    the rate that it can do, by clients that keep their pace."""
    model = folder / "resnet18-32.onnx"
    run([BINARY, "new", "resnet18-32", "--input", "3,32,32", "--output", model], timeout=60)
    seen = run_json([BINARY, "inspect", model, "--json"], timeout=60)
    options = argparse.Namespace(**{**vars(options), "model": model, "max_queue": OVERLOAD_QUEUE})
    body = write_bodies(folder, seen["inputs"][0]["name"], [1, 3, 32, 32])["v2 binary"]
    with running(OURS, options, body) as port:
        load(port, body, 16, 1)
        peak = load(port, body, OVERLOAD_QUEUE // 2, options.seconds)
        over = paced(port, body, 3 * peak["rate"], options.seconds)
    return {"peak": peak, "overload": over, "goodput": over["rate"] / peak["rate"]}


def overhead(options: argparse.Namespace, bodies: dict[str, Body]) -> dict:
    """Microseconds at one connection: of an exchange that runs no model, which is the loopback, the
    client and HTTP, of each form, and of the bare model."""
    bare = run_json([BINARY, "bench", options.model, "--batch", "1", "--json"], timeout=60)
    seen: dict = {"model": bare["median_ms"] * 1e3}
    with running(OURS, options, bodies["v2 binary"]) as port:
        url = f"http://127.0.0.1:{port}/v2/health/live"
        words = ["wrk", "-t1", "-c1", f"-d{options.seconds}s", "-s", HERE / "body.lua", url]
        seen["exchange"] = run_json(words, timeout=options.seconds + 60)["p50"]
        for form in FORMS[OURS]:
            load(port, bodies[form], 16, 1)
            seen[form] = load(port, bodies[form], 1, options.seconds)["p50"]
    return seen


def overhead_text(seen: dict) -> str:
    model, exchange = seen["model"], seen["exchange"]
    lines = [f"At one connection, in us: bare model {model:.0f}, exchange without one {exchange:.0f}."]
    lines += ["", "| form | p50 | over the bare model | over model and exchange |", "|---|---:|---:|---:|"]
    for form in FORMS[OURS]:
        over = seen[form] - model
        lines.append(f"| {form} | {seen[form]:.0f} | {over:.0f} | {over - exchange:.0f} |")
    return "\n".join(lines)


def table(rows: dict) -> str:
    lines = ["| form, connections | server | requests/s | p50 ms | p99 ms | ours to it |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for row, servers in rows.items():
        ours = servers.get(OURS, {}).get("rate", 0)
        for name, seen in sorted(servers.items(), key=lambda pair: -pair[1]["rate"]):
            times = f"{seen['p50'] / 1e3:.2f} | {seen['p99'] / 1e3:.2f}"
            ratio = f"{ours / seen['rate']:.2f}x" if seen["rate"] else ""
            lines.append(f"| {row} | {name} | {seen['rate']:,.0f} | {times} | {ratio} |")
            if seen["refused"] or seen["broken"]:
                lines[-1] += f" {seen['refused']:.0f} refused, {seen['broken']:.0f} broken"
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--peers", type=pathlib.Path, default=ROOT / "target/peers")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--names", nargs=2, default=("x", "y"), help="of the input and the output")
    options = parser.parse_args()
    options.max_queue = 1024
    return options


def main() -> None:
    options = parsed()
    require_binary(BINARY)
    for tool, package in (("wrk", "wrk"), ("h2load", "nghttp2-client")):
        if not shutil.which(tool):
            sys.exit(f"there is no {tool}; hint: apt-get install {package}")
    servers = [OURS]
    for name in FORMS:
        if name != OURS and (options.peers / name / "bin").is_dir():
            servers.append(name)
        elif name != OURS:
            print(f"left out: {name} is not in {options.peers}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(pathlib.Path(folder), options.names[0])
        rows = measure(options, bodies, servers)
        most = overload(options, bodies)
        heavy = overload_of_heavy(options, pathlib.Path(folder))
        extra = overhead(options, bodies)
    text = f"{processor()}, {os.cpu_count()} cores shared with the load, {options.model.name}\n\n"
    text += table(rows)
    text += f"\n\nGoodput in overload: {most['goodput']:.0%} of {most['peak']['rate']:,.0f}/s; "
    text += f"{most['overload']['refused']} refused at once.\n"
    text += f"Of ResNet-18 at three times its rate: {heavy['goodput']:.0%} of {heavy['peak']['rate']:,.0f}/s; "
    text += f"{heavy['overload']['refused']} refused at once.\n"
    text += f"\n{overhead_text(extra)}\n"
    seen = {"rows": rows, "overload": most, "overload of resnet18-32": heavy, "overhead": extra}
    results = HERE.parent / "results"
    results.mkdir(exist_ok=True)
    (results / "serve.md").write_text(text)
    (results / "serve.json").write_text(json.dumps(seen, indent=1))
    print(text)


if __name__ == "__main__":
    main()
