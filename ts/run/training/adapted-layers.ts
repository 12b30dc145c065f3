/**
 * Which layers get low-rank terms, and what becomes of an encoder's head: as the model at hand has
 * them.
 */

import type { TrainConfig } from '../../config/resolve.ts';
import type { AdapterOptions, ModelInfo } from '../../engine/model.ts';
import { BpeftError } from '../../errors.ts';

/** The engine's names: in a decoder transformers' too. */
const USUAL = { decoder: ['q_proj', 'v_proj', 'lm_head'], encoder: ['q_proj', 'v_proj'] } as const;
const HEAD = ['dense', 'classifier'] as const;

type Layers = Pick<ModelInfo, 'kind' | 'architecture' | 'layerNames'>;

/**
 * The settings with what depends on the model filled in, layers by transformers' names.
 * @throws {BpeftError} `BPEFT_USAGE`: a layer that this model lacks, or settings of a head in a
 * decoder.
 */
export function forModel(config: TrainConfig, info: Layers): TrainConfig {
  const { freshHead, head, targetModules } = config;
  if (info.kind !== 'encoder') {
    if (head !== undefined || freshHead) {
      const flag = head === undefined ? '--fresh-head' : '--head';
      throw new BpeftError(
        'BPEFT_USAGE',
        `${flag} is about the head of an encoder, and this ${info.architecture} is a decoder`,
        {
          hint: 'leave it out; a decoder answers by its vocabulary, and lm_head among --target-modules adapts that',
        },
      );
    }
    return { ...config, targetModules: targetModules ?? [...USUAL.decoder] };
  }
  const kept = head ?? 'trained';
  const asked = engineNames(targetModules ?? USUAL.encoder, info);
  const adapted = kept === 'lora' ? [...asked, ...headLayers(info)] : asked;
  const names = [...new Set(adapted)].map((name) => info.layerNames[name] ?? name);
  return { ...config, head: kept, targetModules: names as TrainConfig['targetModules'] };
}

/**
 * Layers by the engine's names.
 * @throws {BpeftError} `BPEFT_USAGE`: one that this model lacks.
 */
export function engineNames(
  names: readonly string[],
  { architecture, layerNames }: Layers,
): string[] {
  const known = Object.entries(layerNames ?? {});
  if (known.length === 0) return [...names];
  return names.map((name) => {
    const [found] = known.find(([own, theirs]) => name === own || name === theirs) ?? [];
    if (found !== undefined) return found;
    const all = known.map(([, theirs]) => theirs).join(', ');
    throw new BpeftError(
      'BPEFT_USAGE',
      `--target-modules must be layers of ${architecture}, got ${name}`,
      {
        hint: `this model has ${all}`,
      },
    );
  });
}

/** The head of an adapter that begins; undefined for a decoder. */
export function headOf(config: TrainConfig, classes: number): AdapterOptions['head'] {
  if (config.head === undefined) return undefined;
  return { classes, trained: config.head === 'trained', fresh: config.freshHead };
}

/** What the adapter adds to its head's layers; a pooler belongs to the base. */
function headLayers({ layerNames }: Layers): string[] {
  return HEAD.filter((name) => layerNames[name]?.startsWith('pooler') === false);
}
