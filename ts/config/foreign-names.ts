/** What users of Hugging Face's trainers write, and which setting of ours it is. */

interface Meant {
  /** The setting; absent where there is none. */
  readonly key?: string;
  /** What it must be, where the other name is a switch. */
  readonly value?: string;
  readonly remark?: string;
}

const LONGER: readonly (readonly [key: string, names: readonly string[]])[] = [
  ['adapter', ['adapter-name-or-path', 'peft-model']],
  ['adamEpsilon', ['adam-eps']],
  ['alpha', ['lora-alpha']],
  ['batchSize', ['per-device-train-batch-size', 'train-batch-size']],
  ['checkpointEvery', ['save-steps']],
  ['dataset', ['data-path', 'dataset-name', 'dataset-path', 'train-file', 'test-file']],
  ['epochs', ['n-epochs', 'num-epochs', 'num-train-epochs']],
  ['evalBatchSize', ['per-device-eval-batch-size']],
  ['evalDataset', ['eval-file', 'validation-file']],
  ['evalEvery', ['eval-steps']],
  ['evalLimit', ['max-eval-samples']],
  ['gradAccumulation', ['gradient-accumulation-steps']],
  ['limit', ['max-test-samples']],
  ['lr', ['learning-rate']],
  ['maxSeqLen', ['max-length', 'max-seq-length', 'model-max-length']],
  ['model', ['base-model', 'model-id', 'model-name', 'model-name-or-path']],
  ['out', ['output-dir', 'output-file']],
  ['overwrite', ['overwrite-output-dir']],
  ['rank', ['lora-r', 'lora-rank', 'r']],
  ['resume', ['resume-from-checkpoint']],
  ['targetModules', ['lora-target-modules']],
];

const FOREIGN: ReadonlyMap<string, Meant> = new Map<string, Meant>([
  ...LONGER.flatMap(([key, names]) => names.map((name) => [name, { key }] as const)),
  ['bf16', { key: 'precision', value: 'bf16' }],
  ['fp16', { key: 'precision', value: 'bf16', remark: 'half precision is not there' }],
  ['gradient-checkpointing', { key: 'checkpointing', value: 'full' }],
  ['load-in-4bit', { key: 'quantize', value: 'nf4' }],
  ['load-in-8bit', { key: 'quantize', value: 'int8' }],
  ['warmup-steps', { key: 'warmupRatio', remark: 'a share of the steps' }],
  [
    'testing-set',
    { key: 'split', remark: 'test is validation[50%:], train_val trains on train[:80%]' },
  ],
  ['do-train', { remark: 'bpeft train always trains: leave it out' }],
  ['do-eval', { remark: 'evaluate with bpeft eval --run DIR' }],
  ['do-predict', { remark: 'predict with bpeft predict --run DIR FILE' }],
  ['logging-steps', { remark: 'every step is written to metrics.jsonl: leave it out' }],
  ['lr-scheduler-type', { remark: 'the rate falls in a line after the warm-up: leave it out' }],
]);

/** Every setting that is pointed to. */
export const MEANT_SETTINGS: readonly string[] = [...FOREIGN.values()].flatMap(
  ({ key }) => key ?? [],
);

/**
 * The hint for an unknown name, or null.
 * @param known settings of the command
 * @param spell how its place spells a setting, `--lr`
 */
export function foreignNameHint(
  typed: string,
  known: readonly string[],
  spell: (key: string) => string,
): string | null {
  const name = typed
    .replace(/^-+/, '')
    .replace(/([a-z])([A-Z])/g, '$1-$2')
    .replaceAll('_', '-')
    .toLowerCase();
  const meant = FOREIGN.get(name);
  if (meant === undefined) return null;
  const { key, value, remark } = meant;
  if (key === undefined) return remark ?? null;
  const spelt = spell(key) + (value === undefined ? '' : ` ${value}`);
  const where = known.includes(key) ? '' : ' of another command';
  return `here it is ${spelt}${where}${remark === undefined ? '' : ` (${remark})`}`;
}
