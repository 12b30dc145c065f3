#!/usr/bin/env bash
# TFB of a BLoB adapter of obqa on four other datasets (the reference's tfblora_acc/blob-ood).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_ood_all blob "0.00975 0.00975 0.00975" --kl-lr 0.0075 --prior-std 0.15
