#!/usr/bin/env bash
# BLoB on Llama-2-7B, six datasets, three seeds, one process (the reference's
# blob-llama-all-single-gpu).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

single=(--config cmd/configs/llama.json --processes 1 --eval-every 6000)
for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    name=blob-$dataset-sample10-eps0.05-kllr0.01-beta0.2-gamma8-seed$seed
    train "BLoB-llama-all-single-gpu/$name" "${single[@]}" --dataset "$dataset" --seed "$seed"
  done
done
