#!/usr/bin/env bash
# TFB of an MLE adapter, six datasets, three seeds (the reference's tfblora_acc/mle, there of
# published adapters of Llama-3.1-8B; here of our own runs of MODEL, which are trained first).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

settings=(--protocol reference --anchors 500 --samples 10 --sigma-max 0.015 --iterations 5 --eval-batch-size 50)
settings+=(--tolerance 0.01 --criterion accuracy)
for seed in ${SEEDS:-1 2 3}; do
  for dataset in ${DATASETS:-$ID6}; do
    run=tfblora_acc-trained/mle-$dataset-seed$seed
    name=tfblora_acc-mle-th0.01-$dataset-sample10-beta0.015-iter5-seed$seed
    train "$run" --config cmd/configs/llama.json --method mle --processes 1 --dataset "$dataset" --seed "$seed"
    bayesianize "$run" "tfblora_acc/$name-adapter" --method tfb "${settings[@]}"
    evaluate_adapter "tfblora_acc/$name-adapter" "tfblora_acc/$name" --dataset "$dataset" --samples 10 --seed "$seed"
  done
done
