#!/usr/bin/env bash
# A deep ensemble of three on Llama-2-7B, six datasets, three seeds, two processes (the reference's
# deepensemble-llama-all). Its members are the runs of their seeds here, with orders of their own.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    train "ENS-llama-all/deepensemble-$dataset-seed$seed" --config cmd/configs/llama.json --method ensemble --members 3 --dataset "$dataset" --seed "$seed"
  done
done
