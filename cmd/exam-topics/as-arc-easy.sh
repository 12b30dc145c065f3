#!/usr/bin/env bash
# exam-topics through the prompts of ARC-Easy, MLE, protocol reference: 150 updates at 1e-4 of two
# seeds and 450 at 3e-4 of one, each evaluated on the first 400 test rows. The reference's own code
# has a prompt for ARC and none for exam-topics, so its numbers for these rows are those of this
# run.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

rows=$(mktemp -d)
trap 'rm -rf "$rows"' EXIT
mkdir "$rows/arc_easy"
cp "$DATA_DIR/exam_topics/train.jsonl" "$rows/arc_easy/train.jsonl"
head -n 400 "$DATA_DIR/exam_topics/test.jsonl" > "$rows/arc_easy/validation.jsonl"
DATA_DIR=$rows

for run in ${RUNS:-150-1e-4-seed1 150-1e-4-seed2 450-3e-4-seed1}; do
  [[ $run =~ ^([0-9]+)-(.*)-seed([0-9]+)$ ]]
  train "exam-topics-as-arc-easy/mle-$run" --config cmd/configs/as-arc-easy.json \
    --max-steps "${BASH_REMATCH[1]}" --lr "${BASH_REMATCH[2]}" --seed "${BASH_REMATCH[3]}"
done
