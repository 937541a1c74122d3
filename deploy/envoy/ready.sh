#!/usr/bin/env bash
# Status 0 when this machine's Envoy takes connections. Its image has bash, and nothing that speaks HTTP.
set -euo pipefail
exec 3<>/dev/tcp/127.0.0.1/9902
printf 'GET /ready HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n' >&3
IFS=' ' read -r _ status _ <&3
[[ $status == 200 ]]
