/**
 * Laplace's approximation (Laplace-LoRA, Yang et al., arXiv 2308.13111): a Gaussian around a
 * trained adapter by the curvature of its loss, and answers that are linearised in the weights.
 *
 * ```text
 * p(θ | D) ≈ N(θ*, (F + λI)⁻¹)      f(x) ~ N(f_θ*(x), J (F + λI)⁻¹ Jᵀ)
 * λ: of largest evidence, of smallest NLL of answers to rows that are held out, or given
 * ```
 *
 * The mathematics is the engine's (crates/blob-core/src/laplace).
 */

import { z } from 'zod';
import { count, type Facts, inAll, name, setting } from '../config/setting.ts';
import type { Method } from './method.ts';

const ours = { methods: ['laplace'], recorded: 'value', isInherited: false } as const;
const FACTS: Facts = { ...ours, group: 'Laplace', decides: 'training' };

const ofLaplace = <S extends z.ZodType>(what: string, schema: S, facts: Partial<Facts> = {}) =>
  setting(what, { bayesianize: schema }, { ...FACTS, ...facts });

/** The engine's f32 has no room for others. */
const PRECISION = z.number().min(1e-30).max(1e30);

export const LAPLACE_SETTINGS = {
  priorPrecision: ofLaplace(
    "lambda, the prior's precision: of largest evidence, of smallest NLL on held-out rows (validation), or a number",
    z.union([z.literal(['evidence', 'validation']), PRECISION]).default('evidence'),
    { rule: 'evidence, validation or a number from 1e-30 to 1e30' },
  ),
  precisionSplit: ofLaplace(
    "split of held-out rows for --prior-precision validation (default: the dataset's, mostly validation)",
    name.optional(),
  ),
  curvatureRank: ofLaplace(
    'directions that are kept of a factor wider than 64',
    count.max(128).default(10),
  ),
  curvatureMemory: ofLaplace('most MiB of all factors', count.default(1024)),
  link: setting(
    "how a Laplace adapter answers: in closed form (probit, bridge), or by samples of its logits' Gaussian",
    inAll(['eval', 'predict'], z.enum(['probit', 'bridge', 'sample']).default('probit')),
    { ...ours, group: 'Evaluation and prediction', decides: 'evaluation' },
  ),
};

/** How the answers of such an adapter are made. */
export const LAPLACE: Pick<Method<unknown>, 'id' | 'predictive'> = {
  id: 'laplace',
  predictive: (_adapter, { noise, link = 'probit' }) => ({
    ...{ dropout: 0, average: 'probabilities', noise, link },
  }),
};

/** Nats per row, below which an adapter has learnt its rows by heart. */
const BY_HEART = 0.1;

/**
 * Whether the evidence over all layers is to be trusted. Where no row is in doubt few parameters
 * are determined, γ, and λ = γ/‖θ‖² is that of a prior far wider than answers to other rows bear: θ
 * was trained without it.
 */
export function isLearntByHeart({ nll, rows }: { nll: number; rows: number }): boolean {
  return nll < BY_HEART * rows;
}

/** λ that held-out rows choose from: eight to a decade, from 1e-4 to 1e6, as they are printed. */
export const PRECISIONS: Float64Array = Float64Array.from({ length: 81 }, (_, at) =>
  Number((10 ** (at / 8 - 4)).toPrecision(6)),
);

/**
 * The λ of smallest NLL, and whether it is an end of the range, where there may be a better one.
 */
export function bestPrecision(nll: Float64Array): {
  readonly precision: number;
  readonly isEnd: boolean;
} {
  const at = nll.reduce((best, value, index) => (value < (nll[best] ?? 0) ? index : best), 0);
  return { precision: PRECISIONS[at] ?? 1, isEnd: at === 0 || at === PRECISIONS.length - 1 };
}
