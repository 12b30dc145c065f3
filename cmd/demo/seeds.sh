#!/usr/bin/env bash
# The demonstration for several seeds (SEEDS, default 1 to 5): cmd/results/demo/seed-<n>.json; table
# by table.mjs. A run that is finished is not run again; one that was interrupted continues.
set -euo pipefail
cd "$(dirname "$0")/../.."
results=${RESULTS:-cmd/results/demo}
mkdir -p "$results"
for seed in ${SEEDS:-1 2 3 4 5}; do
  node dist/cli/main.js demo --seed "$seed" --out "${OUT_DIR:-runs}/demo-seed$seed" --json \
    >"$results/seed-$seed.json.part"
  mv "$results/seed-$seed.json.part" "$results/seed-$seed.json"
done
node cmd/demo/table.mjs "$results"
