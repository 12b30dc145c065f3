#!/usr/bin/env bash
# TFB of a MAP adapter, within a tolerance of its accuracy (the reference's tfblora_acc/map).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_all tfblora_acc map --method map
