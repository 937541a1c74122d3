#!/bin/sh
# Valkey with the password of RECSTREAM_STORE__PASSWORD, told in a way that no list of processes shows.
set -eu
if [ -z "${RECSTREAM_STORE__PASSWORD:-}" ]; then
  echo "RECSTREAM_STORE__PASSWORD is empty: see secrets/store.env.example" >&2
  exit 1
fi
password=$(printf %s "$RECSTREAM_STORE__PASSWORD" | sed 's/[\\"]/\\&/g')
exec valkey-server /etc/valkey/valkey.conf - <<END
requirepass "$password"
END
