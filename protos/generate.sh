#!/usr/bin/env bash
# Generates the Python code and its stubs from the .proto files, in place. The first argument is a Python
# that has the packages of requirements/protos.txt.
set -euo pipefail
python=$1
cd "$(dirname "$0")"
includes=$("$python" -c 'import pathlib, google.api.annotations_pb2 as a; print(pathlib.Path(a.__file__).parents[2])')
find recstream \( -name '*_pb2.py' -o -name '*_pb2.pyi' -o -name '*_pb2_grpc.py' -o -name '*_pb2_grpc.pyi' \) -delete
mapfile -t messages < <(find recstream -name '*.proto' | sort)
mapfile -t services < <(find recstream -name '*_service.proto' | sort)
PATH=$(dirname "$python"):$PATH "$python" -m grpc_tools.protoc -I. -I"$includes" \
  --python_out=. --mypy_out=quiet,readable_stubs:. "${messages[@]}"
PATH=$(dirname "$python"):$PATH "$python" -m grpc_tools.protoc -I. -I"$includes" \
  --grpc_python_out=. --mypy_grpc_out=quiet:. "${services[@]}"
