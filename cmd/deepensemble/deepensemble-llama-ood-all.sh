#!/usr/bin/env bash
# A deep ensemble trained on obqa, evaluated on four other datasets (the reference's
# deepensemble-llama-ood-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  run=ENS-llama-ood-all/deepensemble-obqa-seed$seed
  train "$run" --config cmd/configs/llama.json --method ensemble --members 3 --dataset obqa --seed "$seed"
  for dataset in ${DATASETS:-$OOD4}; do
    evaluate "$run" "ENS-llama-ood-all/deepensemble-obqa-on-$dataset-seed$seed" --dataset "$dataset"
  done
done
