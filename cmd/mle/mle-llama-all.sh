#!/usr/bin/env bash
# MLE on Llama-2-7B, three seeds, two processes (the reference's mle-llama-all, which has
# winogrande_m only).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each MLE-llama-all/mle-DATASET winogrande_m --config cmd/configs/llama.json --method mle
