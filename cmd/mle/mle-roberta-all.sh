#!/usr/bin/env bash
# MLE on RoBERTa, five datasets, three seeds, four processes (what the reference's mle-roberta-all
# intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$GLUE5}; do
    train "MLE-roberta-all/mle-$dataset-seed$seed" --config cmd/configs/roberta.json --method mle \
      --dataset "$dataset" --seed "$seed"
  done
done
