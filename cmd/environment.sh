# What every script of cmd/ understands; sourced, not run.
#   MODEL      folder or .gguf file (required)        DATA_DIR  folder of the datasets (required)
#   OUT_DIR    where run folders go (runs)            SEEDS, DATASETS  override the script's lists
#   DRY_RUN=1  plans and one step of each run, and what would be made of it; writes nothing
#   EXTRA      more flags for each training run
#   WANDB_MODE and the other WANDB_* variables as everywhere; the project is the script's name, as
#   in the reference
# A run that is finished is not run again; one that was interrupted continues.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${MODEL:?MODEL must name a model folder or .gguf file}" \
  "${DATA_DIR:?DATA_DIR must name the folder of the datasets}"
OUT_DIR=${OUT_DIR:-runs}
ID6="winogrande_s ARC-Challenge ARC-Easy winogrande_m obqa boolq"
GLUE5="rte mrpc wic cola boolq"
OOD4="ARC-Challenge ARC-Easy MMLU-chem MMLU-phy"
read -ra extra <<<"${EXTRA:-}"
if [[ ${DRY_RUN:-} == 1 ]]; then extra+=(--dry-run); fi

# This checkout's own program.
bpeft() {
  node dist/cli/main.js "$@"
}

# train OUT FLAGS…
train() {
  local out="$OUT_DIR/$1" project=${WANDB_PROJECT:-${1%%/*}}
  shift
  echo "== $out" >&2
  WANDB_PROJECT=$project bpeft train --model "$MODEL" --data-dir "$DATA_DIR" --out "$out" \
    --resume "$@" "${extra[@]}"
}

# is_planned COMMAND…   says what would run, where nothing is to be written
is_planned() {
  if [[ ${DRY_RUN:-} != 1 ]]; then return 1; fi
  echo "would run bpeft $*" >&2
}

# evaluate RUN OUT FLAGS…
evaluate() {
  evaluate_of --run "$@"
}

# evaluate_adapter ADAPTER OUT FLAGS…
evaluate_adapter() {
  evaluate_of --adapter "$@"
}

# evaluate_of KIND RUN-OR-ADAPTER OUT FLAGS…
evaluate_of() {
  local kind=$1 made="$OUT_DIR/$2" out="$OUT_DIR/$3" project=${WANDB_PROJECT:-${3%%/*}}
  shift 3
  if is_planned eval "$kind" "$made" --out "$out" "$@" \
    || [[ -f $out/result.complete ]]; then return; fi
  echo "== $out" >&2
  WANDB_PROJECT=$project bpeft eval "$kind" "$made" --model "$MODEL" --data-dir "$DATA_DIR" \
    --out "$out" \
    --overwrite "$@"
  touch "$out/result.complete"
}

# bayesianize RUN OUT FLAGS…
bayesianize() {
  local run="$OUT_DIR/$1" out="$OUT_DIR/$2"
  shift 2
  if is_planned bayesianize --run "$run" --out "$out" "$@" \
    || [[ -f $out/adapter_config.json ]]; then return; fi
  echo "== $out" >&2
  bpeft bayesianize --run "$run" --model "$MODEL" --data-dir "$DATA_DIR" --out "$out" "$@"
}

# train_each NAME DATASETS FLAGS…   every dataset and seed; in NAME, DATASET stands for the dataset
train_each() {
  local name=$1 datasets=$2 seed dataset
  shift 2
  for seed in ${SEEDS:-1 2 3}; do
    for dataset in ${DATASETS:-$datasets}; do
      train "${name/DATASET/$dataset}-seed$seed" "$@" --dataset "$dataset" --seed "$seed"
    done
  done
}

# transfer_each RUN NAME TRAINING-FLAGS… -- EVALUATION-FLAGS…   trains on obqa, evaluates elsewhere
transfer_each() {
  local run=$1 name=$2 training=() seed dataset
  shift 2
  while [[ $1 != -- ]]; do
    training+=("$1")
    shift
  done
  shift
  for seed in ${SEEDS:-1 2 3}; do
    train "$run-seed$seed" "${training[@]}" --dataset obqa --seed "$seed"
    for dataset in ${DATASETS:-$OOD4}; do
      evaluate "$run-seed$seed" "${name/DATASET/$dataset}-seed$seed" --dataset "$dataset" "$@"
    done
  done
}
