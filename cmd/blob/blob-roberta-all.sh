#!/usr/bin/env bash
# BLoB on RoBERTa, five datasets, three seeds, four processes (what the reference's blob-roberta-all
# intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$GLUE5}; do
    name=blob-$dataset-sample10-eps0.05-kllr0.002-beta0.2-gamma8-seed$seed
    train "BLoB-roberta-all/$name" --config cmd/configs/roberta.json --method blob --dataset "$dataset" \
      --seed "$seed" --init-eps 0.05 --prior-std 0.2 --kl-gamma 8 --kl-lr 0.002 --train-samples 1
  done
done
