#!/usr/bin/env bash
# exam-topics: MLE and the chosen BLoB of each length on 400 test rows, 200 of shift and 200 of ood
# (no labels).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for steps in ${STEPS:-150 900}; do
  chosen=$(node cmd/exam-topics/choose.mjs "$OUT_DIR/exam-topics" "blob-$steps-")
  for run in "mle-$steps" "$chosen"; do
    evaluate "exam-topics/$run" "exam-topics-eval/$run-test" --split test --samples 10,0 --limit 400
    evaluate "exam-topics/$run" "exam-topics-eval/$run-shift-ood" --split shift,ood \
      --samples 10,0 --limit 200
  done
done
