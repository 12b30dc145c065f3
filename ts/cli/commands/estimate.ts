/** `bpeft estimate` */

import { type Command, Option } from 'commander';
import { mergeLayers, parseSettings } from '../../config/parse.ts';
import { resolveTrain } from '../../config/resolve.ts';
import { count } from '../../config/setting.ts';
import { valueFromText } from '../../config/text.ts';
import type { Estimate, EstimateOptions } from '../../estimate/estimate.ts';
import type { MemoryEstimate, Range } from '../../estimate/memory.ts';
import { SHAPES } from '../../estimate/shape.ts';
import { bytesText } from '../../hub/sizes.ts';
import { duration } from '../../logging/lines.ts';
import { fileJson } from '../../run/records/json.ts';
import type { Output } from '../output.ts';
import { addSettings } from '../settings.ts';

/** The settings of a training run that memory and time depend on. */
const KEYS: ReadonlySet<string> = new Set([
  ...['model', 'method', 'maxSeqLen', 'threads', 'precision', 'quantize', 'batchSize', 'rank'],
  ...['targetModules', 'checkpointing', 'evalSamples', 'evalBatchSize', 'trainSamples', 'members'],
]);

export function defineEstimate(command: Command, output: Output): void {
  command
    .addOption(new Option('--shape <name>', `a published shape: ${Object.keys(SHAPES).join(', ')}`))
    .addOption(
      new Option('--tokens <n>', 'tokens of a prompt (default: --max-seq-len)').argParser((text) =>
        valueFromText(count, text),
      ),
    )
    .addOption(
      new Option(
        '--gpu <name>',
        'also on a GPU: a100, h100, h200, b200, l4, l40s, rtx-3090, rtx-4090',
      ),
    );
  addSettings(command, 'train', KEYS).action(async (flags: Record<string, unknown>) => {
    const { shape, tokens, gpu, json, quiet: _, config: __, ...values } = flags;
    const named = { model: values.model ?? shape, dataset: 'none' };
    const layers = [{ origin: 'flag', values: { ...values, ...named } }] as const;
    mergeLayers('train', layers);
    const options = { shape, tokens, gpu } as EstimateOptions;
    const { estimate } = await import('../../estimate/estimate.ts');
    const found = await estimate(resolveTrain(parseSettings('train', layers)), options);
    output.stdout.write(`${json === true ? fileJson(found, 2) : lines(found).join('\n')}\n`);
  });
}

function lines({ model, work, cpu, gpu }: Estimate): readonly string[] {
  const answers = `${work.evaluationPrompts} answers of ${work.samples} samples`;
  const times = ({ step, answers: of }: { step: Range; answers: Range }) => [
    `           an update ${seconds(step)}, ${answers} ${seconds(of)}`,
  ];
  return [
    `model      ${model.name}: ${large(model.parameters)} parameters, ${model.adapter.toLocaleString('en-US')} trained`,
    `update     ${work.prompts} prompts of ${work.tokens} tokens, ${work.rows} rows, ${work.precision}`,
    `CPU        ${memory(cpu.memory)}`,
    ...times(cpu),
    `           ${cpu.threads} threads, ${Math.round(cpu.rate / 1e9)} GFLOP/s, measured now`,
    ...(gpu === null
      ? []
      : [
          `${gpu.name.padEnd(10)} ${memory(gpu.memory)}: fits ${gpu.fits}`,
          ...times(gpu),
          '           of its data sheet: nothing has been measured on a GPU yet',
        ]),
  ];
}

function large(count: number): string {
  const [unit, name] = count >= 1e9 ? [1e9, 'billion'] : [1e6, 'million'];
  return `${(count / unit).toPrecision(3)} ${name}`;
}

function memory({ total, parts }: MemoryEstimate): string {
  const [low, expected, high] = [total.low, total.expected, total.high].map(bytesText);
  const of = `weights ${bytesText(parts.weights)}, activations ${bytesText(parts.activations)}`;
  return `${expected} of memory (${low} to ${high}): ${of}, adapter ${bytesText(parts.adapter)}`;
}

function seconds({ low, expected, high }: Range): string {
  return `${short(expected)} (${short(low)} to ${short(high)})`;
}

function short(value: number): string {
  if (value >= 60) return duration(value);
  return value >= 1 ? `${value.toFixed(1)} s` : `${Number((1000 * value).toPrecision(2))} ms`;
}
