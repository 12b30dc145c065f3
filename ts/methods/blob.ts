/**
 * BLoB (Wang et al., arXiv 2406.11675): a Gaussian over A, trained by a sampled likelihood and the
 * KL to a Gaussian prior. The objective and its scaling are `docs/objective.md`.
 */

import { z } from 'zod';
import {
  count,
  inAll,
  ofTraining,
  positive,
  type SettingsOf,
  setting,
  WITH_MODEL,
} from '../config/setting.ts';
import type { Accounting } from '../protocol/accounting.ts';
import type { Protocol } from '../protocol/data-protocol.ts';
import type { KlCycle } from './engine-options.ts';
import {
  CYCLE_METHODS,
  DRAWING_METHODS,
  LOOKING_METHODS,
  type MethodId,
  POSTERIOR_METHODS,
  SHARING_METHODS,
} from './ids.ts';
import { forecastKl } from './kl-plan.ts';
import type { Method } from './method.ts';

const group = 'BLoB';
const methods = POSTERIOR_METHODS;
const ours = { group, methods } as const;
const ofCycle = { group, methods: CYCLE_METHODS } as const;

/** What shares one sign of the noise; evaluation draws by it too. */
const NOISE = z.enum(['token', 'example', 'shared']);
const SIGMA = z.enum(['square', 'softplus']);

/** TFB's adapters have a rho, too, and answer as BLoB's do. */
const OF_RHO: readonly MethodId[] = [...methods, 'bbb', ...LOOKING_METHODS];
const SHARED_ANSWERS: readonly MethodId[] = [...SHARING_METHODS, ...LOOKING_METHODS];

export const BLOB_SETTINGS = {
  priorStd: ofTraining('standard deviation of the prior', positive.default(0.2), {
    ...ours,
    methods: [...methods, 'bbb', 'map'],
  }),
  klLr: ofTraining(
    'peak learning rate of SGD (KL, and everything of rho)',
    positive.default(0.01),
    ours,
  ),
  klWeighting: ofTraining(
    'weight of the KL within a cycle of M updates: a pulse at its end, or 1/M in each',
    z.enum(['pulse', 'uniform']).default('pulse'),
    ofCycle,
  ),
  klCycle: ofTraining(
    'M: updates of an epoch, rescaled by the rows, N, or auto: rescaled in protocol reference, else a tenth of the run',
    z.union([z.literal(['auto', 'epoch', 'rescaled']), count]).default('auto'),
    { ...ofCycle, rule: 'auto, epoch, rescaled or a positive whole number' },
  ),
  klGamma: ofTraining('gamma of the rescaled cycle', positive.default(8), ofCycle),
  klForm: ofTraining(
    'closed form, or with the 1e-6 of the reference (default: by protocol)',
    z.enum(['exact', 'reference']).optional(),
    ours,
  ),
  sigma: setting(
    'sigma of rho',
    {
      train: SIGMA.default('square'),
      ...inAll(
        ['eval', 'predict'],
        SIGMA.optional().describe('sigma of rho (default: as saved with the adapter)'),
      ),
    },
    {
      group,
      methods: [...methods, 'bbb'],
      methodsIn: { eval: OF_RHO, predict: OF_RHO },
      decides: 'training',
      recorded: 'value',
      isInherited: false,
    },
  ),
  initEps: ofTraining(
    'sigma starts in [eps^2/2, eps^2), of scalabl in [eps/sqrt(2), eps); with softplus in protocol reference rho does in [-eps-1, -eps)',
    positive.default(0.05),
    { ...ours, methods: [...methods, 'bbb', 'scalabl'] },
  ),
  trainSamples: ofTraining('posterior samples per training batch', count.max(1024).default(1), {
    ...ours,
    methods: DRAWING_METHODS,
  }),
  average: ofTraining(
    'what several training samples average',
    z.enum(['logits', 'log-likelihood']).default('logits'),
    ofCycle,
  ),
  noise: setting(
    'what shares one draw of signs (of c-lora, of its matrix): each token, each prompt, or all',
    inAll(WITH_MODEL, NOISE.default('token')),
    {
      ...{ group, methods: SHARING_METHODS },
      methodsIn: { bayesianize: LOOKING_METHODS, eval: SHARED_ANSWERS, predict: SHARED_ANSWERS },
      ...{ decides: 'training', recorded: 'value', isInherited: true },
    },
  ),
};

type Given = SettingsOf<typeof BLOB_SETTINGS, 'train'>;
type KlForm = NonNullable<Given['klForm']>;

/** With the default that depends on the protocol filled in. */
export type BlobSettings = Omit<Given, 'klForm'> & {
  readonly klForm: KlForm;
  readonly protocol: Protocol;
};

export function resolveBlob(settings: Pick<Given, 'klForm'> & { protocol: Protocol }): {
  klForm: KlForm;
} {
  return { klForm: settings.klForm ?? (settings.protocol === 'reference' ? 'reference' : 'exact') };
}

export const BLOB: Method<BlobSettings> = {
  id: 'blob',
  hasPosterior: true,
  adapter: ({ sigma, initEps, protocol }) => {
    // Below 0 the engine starts as the reference does where its own eps is: near sigma 0.5.
    const isReference = sigma === 'softplus' && protocol === 'reference';
    return { posterior: { sigma, initEps: isReference ? -initEps : initEps }, members: 1 };
  },
  engineOptions: (settings, accounting, point) => {
    const { priorStd, klForm, klLr, trainSamples, average, noise } = settings;
    const cycle = klCycle(settings, accounting);
    return {
      id: 'blob',
      point,
      priorStd,
      klForm,
      klLr,
      klCycle: cycle,
      trainSamples,
      average,
      noise,
    };
  },
  predictive: (_adapter, { noise }) => ({ dropout: 0, average: 'probabilities', noise }),
  klPlan: (settings, accounting, { sigmaMean }) =>
    forecastKl({ ...settings, sigmaStart: sigmaMean }, klCycle(settings, accounting), accounting),
  record: ({ priorStd }) => ({ prior_std: priorStd }),
};

/** How the weight of the KL runs. */
export function klCycle(
  { klCycle, klWeighting }: Pick<BlobSettings, 'klCycle' | 'klWeighting'>,
  accounting: Accounting,
): KlCycle {
  const length = typeof klCycle === 'number' ? klCycle : accounting.klCycle[klCycle];
  return { kind: klWeighting, length };
}
