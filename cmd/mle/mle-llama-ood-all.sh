#!/usr/bin/env bash
# MLE trained on obqa, evaluated on four other datasets (the reference's mle-llama-ood-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  run=MLE-llama-ood-all/mle-obqa-seed$seed
  train "$run" --config cmd/configs/llama.json --method mle --dataset obqa --seed "$seed"
  for dataset in ${DATASETS:-$OOD4}; do
    evaluate "$run" "MLE-llama-ood-all/mle-obqa-on-$dataset-seed$seed" --dataset "$dataset"
  done
done
