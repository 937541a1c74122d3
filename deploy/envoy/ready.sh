#!/usr/bin/env bash
# Exits with status 0 if this machine's Envoy takes connections. Its image has bash, but no HTTP client.
set -euo pipefail
exec 3<>/dev/tcp/127.0.0.1/9902
printf 'GET /ready HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n' >&3
IFS=' ' read -r _ status _ <&3
[[ $status == 200 ]]
