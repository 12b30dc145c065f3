#!/usr/bin/env bash
# A deep ensemble of three on Llama-2-7B, six datasets, three seeds, two processes (the reference's
# deepensemble-llama-all). Its members are the runs of their seeds here, with orders of their own.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each ENS-llama-all/deepensemble-DATASET "$ID6" \
  --config cmd/configs/llama.json --method ensemble --members 3
