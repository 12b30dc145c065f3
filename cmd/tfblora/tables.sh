# TFB of adapters on six datasets, three seeds (the reference's tfblora and tfblora_acc, there of
# published adapters of Llama-3.1-8B; here of our own runs of MODEL, which are trained first).
# Sourced, not run.

source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

# tfb_all TABLE METHOD TRAINING-FLAGS…   TABLE: tfblora, whose criterion is the NLL, or tfblora_acc
tfb_all() {
  local table=$1 method=$2 seed dataset run name tolerance=0.003
  local settings=(--protocol reference --anchors 500 --samples 10 --sigma-max 0.015 --iterations 5)
  shift 2
  if [[ $table == tfblora_acc ]]; then
    tolerance=0.01
    settings+=(--criterion accuracy)
  fi
  settings+=(--eval-batch-size 50 --tolerance "$tolerance")
  for seed in ${SEEDS:-1 2 3}; do
    for dataset in ${DATASETS:-$ID6}; do
      run=$table-trained/$method-$dataset-seed$seed
      name=$table-$method-th$tolerance-$dataset-sample10-beta0.015-iter5-seed$seed
      train "$run" --config cmd/configs/llama.json "$@" --processes 1 \
        --dataset "$dataset" --seed "$seed"
      bayesianize "$run" "$table/$name-adapter" --method tfb "${settings[@]}"
      evaluate_adapter "$table/$name-adapter" "$table/$name" \
        --dataset "$dataset" --samples 10 --eval-batch-size 50 --seed "$seed"
    done
  done
}

# tfb_ood_all METHOD SIGMAS TRAINING-FLAGS…   an adapter of obqa on four other datasets, under the
# sigma that the reference gives each seed: nothing is searched for (its --iter 0)
tfb_ood_all() {
  local method=$1 seed dataset run name sigma sigmas
  read -ra sigmas <<<"$2"
  shift 2
  for seed in ${SEEDS:-1 2 3}; do
    sigma=${sigmas[seed - 1]:?there is a sigma for each of the seeds 1 to ${#sigmas[@]}}
    run=tfblora_acc-trained/$method-obqa-seed$seed
    name=tfblora_acc-ood/tfblora_acc-ood-$method-DATASET-beta$sigma-seed$seed
    train "$run" --config cmd/configs/llama.json "$@" --processes 1 --dataset obqa --seed "$seed"
    bayesianize "$run" "${name/DATASET/obqa}-adapter" --method tfb --protocol reference \
      --criterion accuracy --iterations 0 --sigma-max "$sigma" --samples 10
    for dataset in ${DATASETS:-$OOD4}; do
      evaluate_adapter "${name/DATASET/obqa}-adapter" "${name/DATASET/$dataset}" \
        --dataset "$dataset" --samples 10 --eval-batch-size 50 --seed "$seed"
    done
  done
}
