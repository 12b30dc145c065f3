#!/usr/bin/env bash
# MiniLM on MRPC, RTE, CoLA and WiC: what the reference's code does (a random head, frozen; its
# accounting), and methods with a trained head. MODEL=models/minilm-l6 after tools/fetch-models.sh
# models minilm.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

as_reference=(--protocol reference --order shuffled --last-batch keep --evaluation-tail keep \
  --head frozen)
for dataset in ${DATASETS:-mrpc rte cola wic}; do
  for seed in ${SEEDS:-1 2 3}; do
    usual=(--config cmd/configs/minilm.json --dataset "$dataset" --seed "$seed")
    for method in ${METHODS:-reference mle mc-dropout ensemble blob}; do
      case $method in
        reference) flags=(--method mle "${as_reference[@]}") ;;
        mc-dropout) flags=(--method mc-dropout --lora-dropout 0.1 --eval-samples 0,10) ;;
        blob) flags=(--method blob --kl-lr 0.002 --eval-samples 0,10) ;;
        *) flags=(--method "$method") ;;
      esac
      train "minilm/$dataset-$method-seed$seed" "${usual[@]}" "${flags[@]}"
    done
  done
done
