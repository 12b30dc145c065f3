#!/usr/bin/env bash
# MAP on RoBERTa, five datasets, three seeds, four processes (what the reference's map-roberta-all
# intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$GLUE5}; do
    train "MAP-roberta-all/map-$dataset-seed$seed" --config cmd/configs/roberta.json --method map \
      --dataset "$dataset" --seed "$seed"
  done
done
