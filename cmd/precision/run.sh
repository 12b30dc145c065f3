#!/usr/bin/env bash
# What rounding costs: BLoB of the demonstration's settings, trained in each precision (and with
# quantised blocks) over SEEDS, and the f32 runs' adapters evaluated in each. Tables by table.mjs.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${OUT_DIR:-runs}/precision
settings=(--model builtin:tiny --dataset builtin:exam-topics --split test,shift --epochs 10 \
  --batch-size 8 --lr 0.003 --kl-lr 0.0075
  --eval-samples 10,0 --eval-batch-size 64)
declare -A flags=(
  [f32]="--precision f32"
  [bf16]="--precision bf16"
  [int8]="--precision int8"
  [f32-q4_k]="--precision f32 --quantize q4_k"
  [f32-nf4]="--precision f32 --quantize nf4"
)
for seed in ${SEEDS:-1 2 3 4 5}; do
  for name in ${NAMES:-f32 bf16 int8 f32-q4_k f32-nf4}; do
    read -ra own <<<"${flags[$name]}"
    node dist/cli/main.js train "${settings[@]}" "${own[@]}" --seed "$seed" \
      --out "$out/$name/seed-$seed" --resume --quiet
    node dist/cli/main.js eval --run "$out/f32/seed-$seed" --split test,shift "${own[@]}" \
      --samples 10,0 --eval-batch-size 64 \
      --out "$out/evaluated-$name/seed-$seed" --overwrite --quiet
  done
done
node cmd/precision/table.mjs "$out"
