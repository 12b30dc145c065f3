#!/usr/bin/env bash
# MAP on RoBERTa, five datasets, three seeds, four processes (what the reference's map-roberta-all
# intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each MAP-roberta-all/map-DATASET "$GLUE5" --config cmd/configs/roberta.json --method map
