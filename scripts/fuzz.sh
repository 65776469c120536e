#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 5s) each.
set -euo pipefail
cd "$(dirname "$0")/.."
fuzztime=${FUZZTIME:-5s}
while IFS=: read -r file target; do
  dir=./$(dirname "$file")
  echo "fuzz $dir $target"
  go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -parallel 2 | tail -1
done < <(git grep -oE 'func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/func //' | sort -u)
