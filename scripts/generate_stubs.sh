#!/usr/bin/env bash
# Generate the stubs in llmpricing/v1 from proto/: scripts/generate_stubs.sh [OUT]
#
# Two generators in two environments, because they cannot share one: the old
# protoc makes stubs that import on every runtime since the declared floors, and
# the new mypy-protobuf makes typings that a caller's `mypy --strict` accepts.
# Exits with 3 where the generators cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-clients/python}
python=${PYTHON:-python3}
protoc_venv=.venv-proto/grpcio-tools-1.66.2
mypy_venv=.venv-proto/mypy-protobuf-5.1.0

# environment DIR REQUIREMENT...: make it once; again after an interrupted attempt
# and in a working copy that was moved, where its scripts point elsewhere.
environment() {
    local dir=$1
    shift
    if [[ $(cat "$dir/.complete" 2>/dev/null) != "$PWD" ]]; then
        rm -rf "$dir"
        "$python" -m venv "$dir"
        # Wheels only: building grpcio-tools takes a compiler and half an hour.
        "$dir/bin/python" -m pip install --quiet --disable-pip-version-check \
            --only-binary :all: "$@" || exit 3
        echo "$PWD" >"$dir/.complete"
    fi
}

# grpcio-tools imports pkg_resources, which setuptools 81 dropped.
environment "$protoc_venv" 'grpcio-tools==1.66.2' 'setuptools<81'
environment "$mypy_venv" 'mypy-protobuf==5.1.0'

# generate PLUGIN_OPTION... FILE...: with both generators.
generate() {
    "$protoc_venv/bin/python" -W ignore -m grpc_tools.protoc \
        --plugin=protoc-gen-mypy="$mypy_venv/bin/protoc-gen-mypy" \
        --plugin=protoc-gen-mypy_grpc="$mypy_venv/bin/protoc-gen-mypy_grpc" \
        --proto_path=proto "$@"
}

mkdir -p "$out"
generate --python_out="$out" --mypy_out=quiet:"$out" $(cd proto && ls llmpricing/v1/*.proto)
# The one file with a service; of the others these generators make empty modules.
generate --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" llmpricing/v1/pricing.proto
