#!/usr/bin/env bash
# MAP on Llama-2-7B, six datasets, three seeds, two processes (the reference's map-llama-all): in
# protocol reference a decay of 1e-5.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    train "MAP-llama-all/map-$dataset-seed$seed" --config cmd/configs/llama.json --method map --dataset "$dataset" --seed "$seed"
  done
done
