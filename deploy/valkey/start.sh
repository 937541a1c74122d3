#!/bin/sh
# Starts Valkey with the password in RECSTREAM_STORE__PASSWORD, which no process list shows.
set -eu
if [ -z "${RECSTREAM_STORE__PASSWORD:-}" ]; then
  echo "RECSTREAM_STORE__PASSWORD is empty: see secrets/store.env.example" >&2
  exit 1
fi
password=$(printf %s "$RECSTREAM_STORE__PASSWORD" | sed 's/[\\"]/\\&/g')
exec valkey-server /etc/valkey/valkey.conf - <<END
requirepass "$password"
END
