#!/usr/bin/env bash
# TFB of a BLoB adapter, six datasets, three seeds (the reference's tfblora/blob, there of published
# adapters of Llama-3.1-8B; here of our own runs of MODEL, which are trained first).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

settings=(--protocol reference --anchors 500 --samples 10 --sigma-max 0.015 --iterations 5 --eval-batch-size 50)
settings+=(--tolerance 0.003)
for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    run=tfblora-trained/blob-$dataset-seed$seed
    name=tfblora-blob-th0.003-$dataset-sample10-beta0.015-iter5-seed$seed
    train "$run" --config cmd/configs/llama.json --kl-lr 0.0075 --prior-std 0.15 --processes 1 --dataset "$dataset" --seed "$seed"
    bayesianize "$run" "tfblora/$name-adapter" --method tfb "${settings[@]}"
    evaluate_adapter "tfblora/$name-adapter" "tfblora/$name" --dataset "$dataset" --samples 10 --seed "$seed"
  done
done
