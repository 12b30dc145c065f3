#!/usr/bin/env bash
# TFB of an MLE adapter, within a tolerance of its accuracy (the reference's tfblora_acc/mle).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_all tfblora_acc mle --method mle
