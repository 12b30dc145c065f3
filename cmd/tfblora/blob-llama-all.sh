#!/usr/bin/env bash
# TFB of a BLoB adapter, within a tolerance of its NLL (the reference's tfblora/blob).
set -euo pipefail
source "$(dirname "$0")/tables.sh"

tfb_all tfblora blob --kl-lr 0.0075 --prior-std 0.15
