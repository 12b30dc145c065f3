#!/usr/bin/env bash
# TFB of a MAP adapter, within a tolerance of its NLL (the reference's tfblora/map).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_all tfblora map --method map
