#!/usr/bin/env bash
# Measures fakecloud beside its floors; see bench/doc.go. Wants Go, and mosquitto for one of the floors.
set -euo pipefail
cd "$(dirname "$0")/.."
go run ./bench "$@"
if docker image inspect fakecloud:verify >/dev/null 2>&1; then
  echo "image $(docker image inspect --format '{{.Size}}' fakecloud:verify | awk '{printf "%.1f", $1 / 1e6}') MB (target <= 20)"
fi
