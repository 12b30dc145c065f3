/**
 * BLoB (Wang et al., arXiv 2406.11675): a Gaussian over A, trained by a sampled likelihood and the KL
 * to a Gaussian prior. The objective and its scaling are `docs/objective.md`.
 */

import { z } from 'zod';
import type { Accounting } from '../protocol/accounting.ts';
import type { Protocol } from '../protocol/data-protocol.ts';
import type { KlCycle } from './engine-options.ts';
import { forecastKl } from './kl-plan.ts';
import type { Method } from './method.ts';

const count = z.int().positive();
const positive = z.number().positive();

/** What shares one sign of the noise; evaluation draws by it too. */
export const NOISE = z.enum(['token', 'example', 'shared']);

export const BLOB_SETTINGS = {
  priorStd: positive.default(0.2).describe('standard deviation of the prior'),
  klLr: positive.default(0.01).describe('peak learning rate of SGD (KL, and everything of rho)'),
  klCycle: z
    .union([z.literal(['auto', 'uniform']), count])
    .default('auto')
    .describe('steps per cycle of the KL weight: auto, N or uniform'),
  klGamma: positive.default(8).describe("gamma of the reference's rule for the cycle"),
  klForm: z
    .enum(['exact', 'reference'])
    .optional()
    .describe('closed form, or with the 1e-6 of the reference (default: by protocol)'),
  sigma: z.enum(['square', 'softplus']).default('square').describe('sigma of rho'),
  initEps: positive.default(0.05).describe('where rho starts: U(eps/sqrt 2, eps)'),
  trainSamples: count.max(1024).default(1).describe('posterior samples per training batch'),
  average: z
    .enum(['logits', 'log-likelihood'])
    .default('logits')
    .describe('what several training samples average'),
};

type Given = z.output<z.ZodObject<typeof BLOB_SETTINGS>>;
type KlForm = NonNullable<Given['klForm']>;

/** With the default that depends on the protocol filled in. */
export type BlobSettings = Omit<Given, 'klForm'> & {
  readonly klForm: KlForm;
  readonly noise: z.output<typeof NOISE>;
};

export function resolveBlob(settings: Pick<Given, 'klForm'> & { protocol: Protocol }): { klForm: KlForm } {
  return { klForm: settings.klForm ?? (settings.protocol === 'reference' ? 'reference' : 'exact') };
}

export const BLOB: Method<BlobSettings> = {
  id: 'blob',
  hasPosterior: true,
  adapter: ({ sigma, initEps }) => ({ posterior: { sigma, initEps }, members: 1 }),
  engineOptions: (settings, accounting, point) => {
    const { priorStd, klForm, klLr, trainSamples, average, noise } = settings;
    const cycle = klCycle(settings, accounting);
    return { id: 'blob', point, priorStd, klForm, klLr, klCycle: cycle, trainSamples, average, noise };
  },
  predictive: () => ({ dropout: 0, average: 'probabilities' }),
  klPlan: (settings, accounting) => forecastKl(settings, klCycle(settings, accounting), accounting),
  record: ({ priorStd }) => ({ prior_std: priorStd }),
};

/**
 * `uniform` spreads over every update what `auto` gives in pulses: the same cycle, the weight 1/M
 * throughout.
 */
function klCycle({ klCycle }: Pick<BlobSettings, 'klCycle'>, accounting: Accounting): KlCycle {
  const length = typeof klCycle === 'number' ? klCycle : accounting.klCycle.auto;
  return { kind: klCycle === 'uniform' ? 'uniform' : 'pulse', length };
}
