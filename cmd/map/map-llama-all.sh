#!/usr/bin/env bash
# MAP on Llama-2-7B, six datasets, three seeds, two processes (the reference's map-llama-all): in
# protocol reference a decay of 1e-5.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each MAP-llama-all/map-DATASET "$ID6" --config cmd/configs/llama.json --method map
