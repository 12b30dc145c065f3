#!/usr/bin/env bash
# An ensemble of three on RoBERTa, five datasets, three seeds, four processes (what the reference's
# deepensemble-roberta-all intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each ENS-roberta-all/deepensemble-DATASET "$GLUE5" \
  --config cmd/configs/roberta.json --method ensemble --members 3
