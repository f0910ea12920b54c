#!/bin/sh
# Installs what Sardonyx is measured beside, each in a Python environment of its own:
#
#     bench/install_peers.sh [FOLDER] [NAME...]     FOLDER is target/peers, NAMEs are all, when not given
#
# Names: torch, tensorflow, jax, onnx (ONNX Runtime and OpenVINO), and for bench/serve: triton, mlserver,
# fastapi, kserve. Some gigabytes in all.
set -eu
cd "$(dirname "$0")/.."
folder="${1:-target/peers}"
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- torch tensorflow jax onnx triton mlserver fastapi kserve
mkdir -p "$folder"

for name in "$@"; do
    case "$name" in
    torch) packages="torch numpy" ;;
    tensorflow) packages="tensorflow-cpu" ;;
    jax) packages="jax optax" ;;
    onnx) packages="onnxruntime openvino onnx numpy" ;;
    triton) packages="nvidia-pytriton onnxruntime numpy" ;;
    # Later releases of its event loop do not start it.
    mlserver) packages="mlserver uvloop==0.21.0 onnxruntime" ;;
    fastapi) packages="fastapi uvicorn[standard] onnxruntime numpy" ;;
    kserve) packages="kserve onnxruntime" ;;
    *)
        echo "there is no peer $name: torch, tensorflow, jax, onnx, triton, mlserver, fastapi, kserve" >&2
        exit 1
        ;;
    esac
    echo "== $name: $packages"
    [ -x "$folder/$name/bin/python" ] || python3 -m venv "$folder/$name"
    # shellcheck disable=SC2086  # a list of words
    "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade $packages
done
