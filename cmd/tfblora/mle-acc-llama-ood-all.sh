#!/usr/bin/env bash
# TFB of an MLE adapter of obqa on four other datasets (the reference's tfblora_acc/mle-ood).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_ood_all mle "0.005375 0.00625 0.005375" --method mle
