#!/usr/bin/env bash
# The same as blob-llama-all-single-gpu, evaluated at the posterior mean ("N = 0" in the paper).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

mean=(--config cmd/configs/llama.json --processes 1 --eval-every 6000 --eval-samples 0)
for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    name=blob-$dataset-sample1-eps0.05-kllr0.01-beta0.2-gamma8-seed$seed
    train "BLoB-mean-llama-all-single-gpu/$name" "${mean[@]}" --dataset "$dataset" --seed "$seed"
  done
done
