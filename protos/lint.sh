#!/usr/bin/env bash
# Checks the contract: buf's lint, and that the generated code is what the .proto files give. The first argument
# is a Python with the packages of requirements/protos.txt, the second the buf binary.
set -euo pipefail
python=$(realpath -s "$1") buf=$(realpath -s "$2")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# buf reads what protoc understood: google's files lie in a Python package, where buf would not look.
includes=$("$python" -c 'import pathlib, google.api.annotations_pb2 as a; print(pathlib.Path(a.__file__).parents[2])')
mapfile -t files < <(find recstream -name '*.proto' | sort)
"$python" -m grpc_tools.protoc -I. -I"$includes" --include_imports --include_source_info \
  --descriptor_set_out="$work/contract.binpb" "${files[@]}"
"$buf" lint "$work/contract.binpb" --config buf.yaml
mkdir "$work/protos"
cp -r generate.sh recstream "$work/protos"
"$work/protos/generate.sh" "$python"
if ! diff -rq -x __pycache__ recstream "$work/protos/recstream"; then
  echo "The generated code is not what the .proto files give: run 'make protos'." >&2
  exit 1
fi
