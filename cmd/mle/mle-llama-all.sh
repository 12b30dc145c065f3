#!/usr/bin/env bash
# MLE on Llama-2-7B, three seeds, two processes (the reference's mle-llama-all, which has
# winogrande_m only).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-winogrande_m}; do
    train "MLE-llama-all/mle-$dataset-seed$seed" --config cmd/configs/llama.json --method mle --dataset "$dataset" --seed "$seed"
  done
done
