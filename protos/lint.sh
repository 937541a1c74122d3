#!/usr/bin/env bash
# Lints the contract with buf, and checks that the generated code matches the .proto files. The first argument is a
# Python with the packages of requirements/protos.txt, the second is the buf binary.
set -euo pipefail
python=$(realpath -s "$1") buf=$(realpath -s "$2")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# buf reads the output of protoc, because it would not find google's files in their Python package.
includes=$("$python" -c 'import pathlib, google.api.annotations_pb2 as a; print(pathlib.Path(a.__file__).parents[2])')
mapfile -t files < <(find recstream -name '*.proto' | sort)
"$python" -m grpc_tools.protoc -I. -I"$includes" --include_imports --include_source_info \
  --descriptor_set_out="$work/contract.binpb" "${files[@]}"
"$buf" lint "$work/contract.binpb" --config buf.yaml
mkdir "$work/protos"
cp -r generate.sh recstream "$work/protos"
"$work/protos/generate.sh" "$python"
if ! diff -rq -x __pycache__ recstream "$work/protos/recstream"; then
  echo "The generated code does not match the .proto files: run 'make protos'." >&2
  exit 1
fi
