#!/usr/bin/env bash
# MLE on RoBERTa, five datasets, three seeds, four processes (what the reference's mle-roberta-all
# intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each MLE-roberta-all/mle-DATASET "$GLUE5" --config cmd/configs/roberta.json --method mle
