#!/usr/bin/env bash
# An ensemble of three on RoBERTa, five datasets, three seeds, four processes (what the reference's
# deepensemble-roberta-all intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$GLUE5}; do
    train "ENS-roberta-all/deepensemble-$dataset-seed$seed" --config cmd/configs/roberta.json \
      --method ensemble --members 3 --dataset "$dataset" --seed "$seed"
  done
done
