#!/usr/bin/env bash
# MAP trained on obqa, evaluated on four other datasets (the reference's map-llama-ood-all, whose
# names are MLE's and write over them).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  run=MAP-llama-ood-all/map-obqa-seed$seed
  train "$run" --config cmd/configs/llama.json --method map --dataset obqa --seed "$seed"
  for dataset in ${DATASETS:-$OOD4}; do
    evaluate "$run" "MAP-llama-ood-all/map-obqa-on-$dataset-seed$seed" --dataset "$dataset"
  done
done
