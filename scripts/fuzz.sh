#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME inputs (default 1000x; a count, because go test ends a time-bounded
# run with "context deadline exceeded" now and then).
set -euo pipefail
cd "$(dirname "$0")/.."
fuzztime=${FUZZTIME:-1000x}
targets=$(git grep -oE 'func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/func //' | sort -u)
[[ -n $targets ]] || { echo "fuzz: no targets found" >&2; exit 1; }
while IFS=: read -r file target; do
  dir=./$(dirname "$file")
  if ! out=$(go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 5x -parallel 2 2>&1); then
    echo "$out"
    exit 1
  fi
  echo "fuzz $dir $target: $(tail -1 <<<"$out")"
done <<<"$targets"
