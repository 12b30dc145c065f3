#!/usr/bin/env bash
# MC dropout trained on obqa, evaluated on four other datasets (the reference's
# mcdropout-llama-ood-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  run=MCD-llama-ood-all/mcdropout-obqa-sample10-seed$seed
  train "$run" --config cmd/configs/llama.json --method mc-dropout --lora-dropout 0.1 --dataset obqa --seed "$seed"
  for dataset in ${DATASETS:-$OOD4}; do
    evaluate "$run" "MCD-llama-ood-all/mcdropout-obqa-on-$dataset-sample10-seed$seed" --dataset "$dataset" --samples 10
  done
done
