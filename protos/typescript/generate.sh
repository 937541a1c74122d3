#!/usr/bin/env bash
# Generates src/gen from ../recstream/v1, with ts-proto of node_modules. PYTHON is a Python that has the packages of
# requirements/protos.txt. The default is that of the checkout's .envs/protos.
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-../../.envs/protos/bin/python}
if [[ ! -x $python ]]; then
  echo "$python does not exist: run make .envs/protos/installed, or set PYTHON" >&2
  exit 1
fi
out=src/gen
includes=$("$python" -c 'import pathlib, google.api.annotations_pb2 as a; print(pathlib.Path(a.__file__).parents[2])')
rm -rf "$out"
mkdir -p "$out"
mapfile -t services < <(cd .. && find recstream/v1 -name '*.proto' | sort)
"$python" -m grpc_tools.protoc -I.. -I"$includes" \
  --plugin=protoc-gen-ts_proto=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out="$out" \
  --ts_proto_opt=esModuleInterop=true,importSuffix=.js,forceLong=bigint,env=node,outputServices=grpc-js \
  --ts_proto_opt=outputJsonMethods=false,outputPartialMethods=true,removeEnumPrefix=true \
  --ts_proto_opt=unrecognizedEnum=false,useExactTypes=false,comments=true,useOptionals=messages,fileSuffix=.pb \
  "${services[@]}" google/rpc/status.proto google/rpc/error_details.proto
# The HTTP annotations and descriptors are for proxies. The client does not use them.
rm -rf "$out/google/api" "$out/google/protobuf/descriptor.pb.ts"
