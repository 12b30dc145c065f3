#!/usr/bin/env bash
# blob-llama-all.sh of one dataset and one seed (the reference's tfblora/test).
set -euo pipefail

DATASETS=${DATASETS:-winogrande_s} SEEDS=${SEEDS:-1} exec "$(dirname "$0")/blob-llama-all.sh"
