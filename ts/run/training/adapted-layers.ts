/**
 * Which layers get low-rank terms, and what becomes of an encoder's head: as the model at hand has
 * them.
 */

import type { TrainConfig } from '../../config/resolve.ts';
import type { AdapterOptions } from '../../engine/adapter.ts';
import type { ModelInfo } from '../../engine/model-info.ts';
import { BpeftError } from '../../errors.ts';
import { refusePromptSettings } from '../inputs/prompt-settings.ts';

/** The engine's names: in a decoder transformers' too. */
const USUAL = { decoder: ['q_proj', 'v_proj', 'lm_head'], encoder: ['q_proj', 'v_proj'] } as const;
/** The layer of those whose queries, keys and values are one. */
const FUSED = 'qkv_proj';
const HEAD = ['dense', 'classifier'] as const;
/** Layers of a head that are the base's own. */
const OF_BASE = new Set(['bert dense', 'modernbert dense']);

type Layers = Pick<ModelInfo, 'kind' | 'architecture' | 'layerNames'>;

/**
 * The settings with what depends on the model filled in, layers by transformers' names.
 * @throws {BpeftError} `BPEFT_USAGE`: a layer that this model lacks, settings of a head in a
 * decoder, or of prompts in an encoder.
 */
export function forModel(config: TrainConfig, info: Layers): TrainConfig {
  const { head, targetModules } = config;
  if (info.kind !== 'encoder') {
    refuseSettingsOfEncoders(config, info);
    const names = engineNames(targetModules ?? usual(info), info);
    return { ...config, targetModules: names as TrainConfig['targetModules'] };
  }
  refusePromptSettings(config, info);
  const kept = head ?? 'trained';
  const asked = engineNames(targetModules ?? usual(info), info);
  const adapted = kept === 'lora' ? [...asked, ...headLayers(info)] : asked;
  const names = [...new Set(adapted)].map((name) => info.layerNames[name] ?? name);
  return { ...config, head: kept, targetModules: names as TrainConfig['targetModules'] };
}

/** @throws {BpeftError} `BPEFT_USAGE` */
function refuseSettingsOfEncoders(config: TrainConfig, { architecture }: Layers): void {
  const { freshHead, head, baseDropout } = config;
  const refuse = (what: string, hint: string): never => {
    const message = `${what} of an encoder, and this ${architecture} is a decoder`;
    throw new BpeftError('BPEFT_USAGE', message, { hint });
  };
  if (head !== undefined || freshHead) {
    refuse(
      `${head === undefined ? '--fresh-head' : '--head'} is about the head`,
      'leave it out; a decoder answers by its vocabulary, and lm_head among --target-modules adapts that',
    );
  }
  if (baseDropout !== undefined && baseDropout > 0) {
    refuse(
      '--base-dropout is the dropout',
      'leave it out; decoders were trained without, and --lora-dropout drops inputs of the adapters',
    );
  }
}

/** Queries and values, with the vocabulary of a decoder. */
function usual({ kind, layerNames }: Layers): string[] {
  const isFused = layerNames?.[FUSED] !== undefined;
  const names = USUAL[kind === 'encoder' ? 'encoder' : 'decoder'];
  return isFused ? [FUSED, ...names.slice(2)] : [...names];
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
function headLayers({ architecture }: Layers): string[] {
  return HEAD.filter((name) => !OF_BASE.has(`${architecture} ${name}`));
}
