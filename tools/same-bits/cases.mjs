// The runs that are compared: every setting in every precision, and models beside the tiny one.

import { root } from '../steps.mjs';

const PRECISIONS = ['f32', 'bf16', 'int8', 'int8-mixed'];

/** name → flags of `bpeft train`; a case trains BLoB unless they say otherwise. */
const SETTINGS = {
  mle: '--method mle',
  'mle-dropout': '--method mle --lora-dropout 0.1',
  blob: '',
  'noise-example': '--noise example',
  'noise-shared': '--noise shared',
  plain: '--sampling plain',
  'kl-uniform': '--kl-weighting uniform --kl-cycle epoch',
  dropout: '--lora-dropout 0.1',
  accumulation: '--grad-accumulation 2',
  'train-samples': '--train-samples 2',
  'log-likelihood': '--train-samples 2 --average log-likelihood',
  softplus: '--sigma softplus',
  'max-grad-norm': '--max-grad-norm 0.5 --weight-decay 0.1',
  recomputation: '--checkpointing full --lora-dropout 0.1',
  'all-modules':
    '--target-modules q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,lm_head --rank 4',
  'protocol-reference': '--protocol reference',
  'one-thread': '--threads 1',
  'quantize-q8_0': '--quantize q8_0',
  'quantize-q4_k': '--quantize q4_k',
  'quantize-int8': '--quantize int8',
  'quantize-nf4': '--quantize nf4',
};

const TINY = ['--model', 'builtin:tiny', '--dataset', 'builtin:exam-topics'];

/** Prompts of several hundred tokens, with a choice of their own for each question. */
const LONG = [
  ...['--model', 'builtin:random', '--dataset', 'ARC-Easy', '--max-seq-len', '700'],
  ...['--data-dir', `${root}test/fixtures/data`, '--batch-size', '2'],
];

/** Two layers in SmolLM2-135M's shape; a file of Q4_0 blocks. */
const wide = (file) => [
  ...['--model', file, '--dataset', 'builtin:exam-topics'],
  ...['--max-seq-len', '700', '--batch-size', '2'],
];

const SHORT = ['--max-steps', '6', '--eval-limit', '18'];

/**
 * All cases, by name: the arguments of `bpeft train` but for its folder, and whether the run is
 * interrupted and resumed.
 */
export function cases(wideModel) {
  const rates = ['--lr', '0.005', '--eval-samples', '10,0', '--checkpoint-every', '4'];
  return PRECISIONS.flatMap((precision) => {
    const trained = (name, isInterrupted, ...args) => ({
      name: `${precision}/${name}`,
      args: ['--threads', '2', '--precision', precision, ...rates, ...args],
      isInterrupted,
    });
    return [
      ...Object.entries(SETTINGS).map(([name, flags]) =>
        trained(name, false, ...TINY, ...SHORT, ...flags.split(' ').filter(Boolean)),
      ),
      trained('resume', true, ...TINY, '--max-steps', '40', '--eval-limit', '18'),
      trained('long-prompts', false, ...LONG, '--max-steps', '3', '--eval-limit', '2'),
      trained('wide', false, ...wide(wideModel), '--max-steps', '2', '--eval-limit', '2'),
    ];
  });
}
