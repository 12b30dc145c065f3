#!/usr/bin/env bash
# ARC-Easy, MLE, protocol reference, 562 steps; also evaluated on ARC-Challenge and MMLU-chem.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train arc-easy-reference/mle --config cmd/configs/arc-easy-reference.json --seed 1
