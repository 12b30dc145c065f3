#!/usr/bin/env bash
# BLoB on RoBERTa, five datasets, three seeds, four processes (what the reference's blob-roberta-all
# intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

name=blob-DATASET-sample10-eps0.05-kllr0.002-beta0.2-gamma8
train_each BLoB-roberta-all/$name "$GLUE5" --config cmd/configs/roberta.json --method blob \
  --init-eps 0.05 --prior-std 0.2 --kl-gamma 8 --kl-lr 0.002 --train-samples 1
