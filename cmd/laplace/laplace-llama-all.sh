#!/usr/bin/env bash
# Laplace-LoRA of MAP adapters on six datasets, three seeds: over all layers (LA) and over the head
# alone (LLLA), by the evidence. The reference has no such script, and points at laplace-lora.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    run=laplace-trained/map-$dataset-seed$seed
    train "$run" --config cmd/configs/llama.json --method map --processes 1 \
      --dataset "$dataset" --seed "$seed"
    for layers in all last:1; do
      name=laplace-$layers-$dataset-seed$seed
      bayesianize "$run" "laplace/$name-adapter" --method laplace --stochastic-layers "$layers"
      evaluate_adapter "laplace/$name-adapter" "laplace/$name" --dataset "$dataset" --seed "$seed"
    done
  done
done
