#!/usr/bin/env bash
# MC dropout on Llama-2-7B, six datasets, three seeds, two processes (the reference's
# mcdropout-llama-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    train "MCD-llama-all/mcdropout-$dataset-sample10-seed$seed" --config cmd/configs/llama.json --method mc-dropout --lora-dropout 0.1 --dataset "$dataset" --seed "$seed"
  done
done
