#!/usr/bin/env bash
# TFB of a MAP adapter of obqa on four other datasets (the reference's tfblora_acc/map-ood).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_ood_all map "0.00625 0.00625 0.0045" --method map
