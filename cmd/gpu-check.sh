#!/usr/bin/env bash
# Checks and measures bpeft on this machine's GPU in at most eight minutes: operations, parity with
# the CPU, memory, compute-sanitizer, a benchmark beside PyTorch and a profile by kernel.
#
#   npm run pack:gpu-check                     where the project is built: makes the bundle
#   cmd/gpu-check.sh [BUNDLE [OUT [FLAG…]]]    where the GPU is
#
# BUNDLE is .cache/gpu-check/gpu-check.tar.xz unless given, or its folder; OUT, gpu-check-results
# unless given, gets results.json and results.md. The machine needs a driver and cuBLAS; python3
# with PyTorch and transformers for the peer. Nothing is built or fetched. Flags are those of
# tools/gpu-check/check.mjs.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
bundle=${1:-$here/.cache/gpu-check/gpu-check.tar.xz}
out=${2:-gpu-check-results}
python=${PYTHON:-python3}

if [ -f "$bundle" ]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  tar -xJf "$bundle" -C "$unpacked" 2>/dev/null || "$python" -m tarfile -e "$bundle" "$unpacked"
  bundle=$unpacked/gpu-check
fi
if [ ! -x "$bundle/node" ]; then
  echo "no bundle in $bundle: make it by npm run pack:gpu-check" >&2
  exit 2
fi

# Where cuBLAS and CUPTI may lie: NVIDIA's wheels, or a toolkit. PyTorch finds its own.
export PEER_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
find_wheels='import glob, nvidia
for path in nvidia.__path__: print(*glob.glob(path + "/*/lib"), sep="\n")'
folders=$("$python" -c "$find_wheels" 2>/dev/null || true)
for folder in $folders /usr/local/cuda/lib64 /usr/local/cuda/extras/CUPTI/lib64; do
  if [ -d "$folder" ]; then
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
  fi
done
export LD_LIBRARY_PATH

"$bundle/node" "$bundle/tools/gpu-check/check.mjs" "$bundle" --out "$out" \
  --python "$python" "${@:3}"
