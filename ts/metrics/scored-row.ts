/** What a prediction is scored on. */

export interface ScoredRow {
  /** (K) probabilities of the classes that compete for this row; K may differ from row to row. */
  readonly probs: ArrayLike<number>;
  /** The right class; null where it is unknown. */
  readonly label: number | null;
  /** Nats; null below two posterior samples. */
  readonly mutualInformation?: number | null;
}

export interface LabelledRow extends ScoredRow {
  readonly label: number;
}

/** The most probable class; of equals the first. */
export function predictedClass(probs: ArrayLike<number>): number {
  let best = 0;
  for (let index = 1; index < probs.length; index += 1) {
    if ((probs[index] ?? 0) > (probs[best] ?? 0)) best = index;
  }
  return best;
}

export function confidence(probs: ArrayLike<number>): number {
  return probs[predictedClass(probs)] ?? 0;
}
