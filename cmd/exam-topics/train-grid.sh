#!/usr/bin/env bash
# exam-topics: MLE and, for each KL rate, BLoB; a short and a long run of each. Chosen by validation
# NLL (choose.mjs).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for steps in ${STEPS:-150 900}; do
  settings=(--config cmd/configs/exam-topics.json --max-steps "$steps")
  train "exam-topics/mle-$steps" "${settings[@]}" --method mle
  for kl_lr in ${KL_LRS:-0.001 0.003 0.01}; do
    train "exam-topics/blob-$steps-kllr$kl_lr" "${settings[@]}" --kl-cycle $((steps / 10)) \
      --kl-lr "$kl_lr"
  done
done
