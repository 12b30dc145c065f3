#!/usr/bin/env bash
# The whole of docs/results.md, one run after another; stop it at any time and start it again.
set -euo pipefail
here=$(dirname "$0")

"$here/train-grid.sh"
"$here/evaluate.sh"
"$here/arc-easy-reference.sh"
"$here/as-arc-easy.sh"
node "$here/collect.mjs" "${OUT_DIR:-runs}" cmd/results
