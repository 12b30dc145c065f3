#!/usr/bin/env bash
# MC dropout on RoBERTa, five datasets, three seeds, four processes (what the reference's
# mcdropout-roberta-all intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$GLUE5}; do
    train "MCD-roberta-all/mcdropout-$dataset-sample10-seed$seed" --config cmd/configs/roberta.json \
      --method mc-dropout --lora-dropout 0.1 --dataset "$dataset" --seed "$seed"
  done
done
