#!/usr/bin/env bash
# TFB of an MLE adapter, within a tolerance of its NLL (the reference's tfblora/mle).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_all tfblora mle --method mle
