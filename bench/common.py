"""What the measuring programs here share: where things are, and how processes are run."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/sardonyx"
PEERS = pathlib.Path(__file__).resolve().parent / "peers"


class Failed(Exception):
    """A process that did not end well, with its last words."""


def run(command: list, *, timeout: float | None = None, cwd: pathlib.Path | None = None) -> str:
    """What the command writes to stdout."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, cwd=cwd)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {timeout:.0f} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failed(lines[0] if "error:" in lines[0] else lines[-1])
    return done.stdout


def run_json(command: list, **options) -> dict:
    """The last line that the command writes, which must be a JSON object."""
    return json.loads(run(command, **options).strip().splitlines()[-1])


def require_binary(binary: pathlib.Path) -> None:
    if not binary.exists():
        sys.exit(f"there is no {binary}; hint: cargo build --release")


def use_cores(count: int) -> None:
    """Keeps this process, and those that it starts, on `count` cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown processor")
