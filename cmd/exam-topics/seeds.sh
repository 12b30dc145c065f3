#!/usr/bin/env bash
# exam-topics over seeds and learning rates: MLE and BLoB (--kl-lr as train-grid.sh chose it), 900
# updates each, on all rows of shift and the first 200 of test. Stop it at any time and start it
# again. Then: seeds-table.mjs.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

methods=("mle" "blob --kl-cycle 90 --kl-lr ${KL_LR:-0.003}")
for lr in ${LRS:-3e-4 1e-4}; do
  for seed in ${SEEDS:-1 2 3}; do
    for settings in "${methods[@]}"; do
      read -r method flags <<<"$settings"
      # shellcheck disable=SC2086 # flags are words
      train "exam-topics-seeds/$method-lr$lr-seed$seed" --config cmd/configs/exam-topics.json \
        --max-steps 900 --seed "$seed" \
        --lr "$lr" --method "$method" $flags --split shift --eval-samples 10,0 --eval-limit 360
    done
  done
done
for lr in ${LRS:-3e-4 1e-4}; do
  for seed in ${SEEDS:-1 2 3}; do
    for method in mle blob; do
      run="$method-lr$lr-seed$seed"
      evaluate "exam-topics-seeds/$run" "exam-topics-seeds-eval/$run-test" --split test \
        --samples 10,0 --limit 200
    done
  done
done
