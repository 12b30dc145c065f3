/** Settings of prompts: an encoder has none, and an adapter those that it was trained on. */

import type { ModelInfo } from '../../engine/model-info.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import { kebabCase, snakeCase } from '../../names.ts';
import { DATA_PROTOCOLS, type DataProtocol, type Protocol } from '../../protocol/data-protocol.ts';
import type { AdapterRecord } from '../records/adapter-record.ts';

/** What changes a prompt that is short enough, or what competes. */
const WORDING = ['template', 'classes', 'labelTokens', 'addSpace', 'eos'] as const;
const OF_PROMPTS = ['labelTokens', 'addSpace', 'eos', 'truncation'] as const;

/** @throws {BpeftError} `BPEFT_USAGE`: one is set, and the model is an encoder. */
export function refusePromptSettings(
  config: Pick<DataProtocol, (typeof OF_PROMPTS)[number]> & { readonly protocol: Protocol },
  { architecture, kind }: Pick<ModelInfo, 'architecture' | 'kind'>,
): void {
  if (kind !== 'encoder') return;
  const preset = DATA_PROTOCOLS[config.protocol];
  const set = OF_PROMPTS.find((key) => config[key] !== preset[key]);
  if (set === undefined) return;
  const message = `--${kebabCase(set)} is about prompts, and this ${architecture} is an encoder`;
  throw new BpeftError('BPEFT_USAGE', message, {
    hint: 'leave it out; an encoder reads texts, and answers by its head',
  });
}

/** Says where prompts are not those that the adapter was trained on. */
export function tellOtherPrompts(
  config: DataProtocol,
  record: Pick<AdapterRecord, 'prompt'> | null,
  emit: Listener,
): void {
  const trained: Readonly<Record<string, unknown>> = record?.prompt ?? {};
  const others = WORDING.flatMap((key) => {
    const [was, is] = [trained[snakeCase(key)], config[key]];
    return was === undefined || was === is ? [] : [`--${kebabCase(key)} ${is} instead of ${was}`];
  });
  if (others.length === 0) return;
  const message = `prompts are not those that the adapter was trained on: ${others.join(', ')}`;
  emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
}
