/**
 * Temperature scaling (Guo et al. 2017, arXiv 1706.04599 §4.2), of the mean probabilities p̄ of any
 * method: samples are pooled first and scaled then (Rahaman & Thiery, arXiv 2007.08792).
 *
 * ```text
 * p_k(T) = p̄_k^β / Σ_j p̄_j^β = softmax(ln p̄ / T)_k        β = 1/T
 * L(β)   = (1/n) Σ_i [ ln Σ_k p̄_ik^β − β ln p̄_i,y_i ]      nats, over rows with a label y
 * L'(β)  = (1/n) Σ_i ( E_i[ln p̄] − ln p̄_i,y_i )            expectation and variance over k under p(T)
 * L''(β) = (1/n) Σ_i Var_i[ln p̄] ≥ 0
 * ```
 *
 * L is convex in β: its minimum is found by Newton's steps, kept inside a bracket of ln β by
 * halving it. One pass has p̄ = softmax(z), and scaling it divides its logits z by T.
 */

import { softmax } from './predictive.ts';
import type { LabelledRow } from './scored-row.ts';

/** Where T is looked for: beyond, answers are all but certain or all but uniform. */
export const TEMPERATURES = { least: 0.01, most: 100 } as const;

/** The logarithm that stands for a probability of 0: of the smallest number above it. */
const LOG_OF_ZERO = Math.log(Number.MIN_VALUE);

/**
 * The T with the least NLL on the rows, within {@link TEMPERATURES}; an end of it where the NLL has
 * no minimum inside, as on rows that are all answered rightly. NaN without rows.
 */
export function fittedTemperature(rows: readonly LabelledRow[]): number {
  if (rows.length === 0) return Number.NaN;
  const logs = rows.map(({ probs, label }) => ({ logs: logarithms(probs), label }));
  let [low, high] = [1 / TEMPERATURES.most, 1 / TEMPERATURES.least];
  if (derivatives(logs, low).first >= 0) return TEMPERATURES.most;
  if (derivatives(logs, high).first <= 0) return TEMPERATURES.least;
  let beta = 1;
  for (let step = 0; step < 200 && high - low > 1e-14 * high; step += 1) {
    const { first, second } = derivatives(logs, beta);
    if (first === 0) break;
    if (first < 0) low = beta;
    else high = beta;
    const newton = beta - first / second;
    const next = newton > low && newton < high ? newton : Math.sqrt(low * high);
    if (Math.abs(next - beta) <= 1e-15 * beta) break;
    beta = next;
  }
  return 1 / beta;
}

/** p(T), (K) → (K); at T = 1 the probabilities as they are. */
export function scaledProbs(probs: ArrayLike<number>, temperature: number): Float64Array {
  if (temperature === 1) return Float64Array.from(probs);
  return softmax(logarithms(probs).map((log) => log / temperature));
}

function derivatives(
  rows: readonly { readonly logs: Float64Array; readonly label: number }[],
  beta: number,
): { first: number; second: number } {
  let [first, second] = [0, 0];
  for (const { logs, label } of rows) {
    const weights = softmax(logs.map((log) => beta * log));
    const mean = weights.reduce((sum, weight, k) => sum + weight * (logs[k] ?? 0), 0);
    first += mean - (logs[label] ?? LOG_OF_ZERO);
    second += weights.reduce((sum, weight, k) => sum + weight * ((logs[k] ?? 0) - mean) ** 2, 0);
  }
  return { first: first / rows.length, second: second / rows.length };
}

function logarithms(probs: ArrayLike<number>): Float64Array {
  return Float64Array.from(probs, (p) => Math.max(Math.log(p), LOG_OF_ZERO));
}
