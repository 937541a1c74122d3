#!/usr/bin/env bash
# descriptors.sh PYTHON FILE: writes the contract to FILE as a descriptor set, with which Envoy converts JSON to gRPC.
# PYTHON has the packages of requirements/protos.txt. The set includes Google's error details, to convert them as well.
set -euo pipefail
python=$1 file=$(realpath "$2")
cd "$(dirname "$0")/../../protos"
includes=$("$python" -c 'import pathlib, google.api.annotations_pb2 as a; print(pathlib.Path(a.__file__).parents[2])')
mapfile -t services < <(find recstream/v1 -name '*_service.proto' | sort)
"$python" -m grpc_tools.protoc -I. -I"$includes" --include_imports --descriptor_set_out="$file" \
  "${services[@]}" google/rpc/status.proto google/rpc/error_details.proto
