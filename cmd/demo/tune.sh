#!/usr/bin/env bash
# Settings of the demonstration, chosen on validation (never test, shift or ood): learning rate,
# length and --kl-lr over TUNE_SEEDS. Each line of the outcome: settings, N, mean validation NLL,
# ACC and ECE over the seeds.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${OUT_DIR:-runs}/demo-tune
# run NAME FLAGS…
run() {
  local name=$1
  shift
  for seed in ${TUNE_SEEDS:-11 12}; do
    node dist/cli/main.js train --model builtin:tiny --dataset builtin:exam-topics \
      --split validation --seed "$seed" \
      --out "$out/$name/seed-$seed" --resume --quiet "$@"
  done
}
for lr in ${LRS:-0.001 0.003 0.01}; do
  for epochs in ${EPOCHS:-5 10 20}; do
    shared=(--lr "$lr" --epochs "$epochs" --batch-size 8 \
      --target-modules "${MODULES:-q_proj,v_proj,lm_head}")
    run "lr$lr-epochs$epochs-mle" --method mle --eval-samples 0 "${shared[@]}"
    for kl_lr in ${KL_LRS:-0.003 0.01 0.03}; do
      run "lr$lr-epochs$epochs-blob-kllr$kl_lr" --method blob --kl-lr "$kl_lr" \
        --eval-samples 10,0 "${shared[@]}"
    done
  done
done
node cmd/demo/tuned.mjs "$out"
