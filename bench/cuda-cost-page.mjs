// The model of costs for people: docs/gpu-cost-model.md.

import { H200 } from './cuda-roofline.mjs';

/** Seconds of a step that were measured for PyTorch 2.11 on an H200, and what is aimed at. */
const KNOWN = {
  '7b 4×100': { torch: 0.246, torchSamples: 0.769, target: 0.04 },
  '7b 8×2048': { torch: 1.336, torchSamples: 6.08, target: 0.9, most: 45e9 },
  '1b 4×100': { torch: 0.137, torchSamples: 0.381, target: 0.012 },
  '1b 8×2048': { torch: 0.289, torchSamples: 1.186, target: null },
};

/** Seconds of the processor for a launch, with the memory that it is given. */
const HOST = 5e-6;

const ms = (seconds) => `${Number((1000 * seconds).toPrecision(3))}`;
const amount = (value, unit) => `${Number((value / unit).toPrecision(3))}`;

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

const nameOf = ({ shape, batch, tokens }) => `${shape} ${batch}×${tokens}`;

function totals(sizes) {
  const rows = sizes.map((size) => {
    const { torch, torchSamples, target, most } = KNOWN[nameOf(size)];
    const aim = most === undefined ? '' : `, target ${amount(most, 1e9)}`;
    return [
      nameOf(size),
      ms(size.step.seconds),
      target === null ? '' : ms(target),
      ms(torch),
      Math.round(size.step.launches),
      ms(size.step.launches * HOST),
      ms(size.answers.seconds),
      ms(torchSamples),
      `${amount(size.peak_bytes, 1e9)}${aim}`,
    ];
  });
  const head = [
    'shape',
    'step, ms',
    'target',
    'PyTorch, measured',
    'launches and copies',
    'ms of the host',
  ];
  return table([...head, 'N = 10, ms', 'PyTorch, measured', 'memory, GB'], rows);
}

/** The rows that make 98 % of the time. */
function longest(rows, seconds) {
  let sum = 0;
  return rows.filter((row) => {
    const isIn = sum < 0.98 * seconds;
    sum += row.seconds;
    return isIn;
  });
}

function kernels(rows, { seconds }) {
  return table(
    [
      'kernel',
      'launches',
      'ms',
      'share',
      'limited by',
      'GFLOP',
      'GB once',
      'GB by blocks',
      'ms if memory-bound',
    ],
    longest(rows, seconds).map((row) => [
      row.kernel,
      Math.round(row.launches),
      ms(row.seconds),
      `${((100 * row.seconds) / seconds).toFixed(1)} %`,
      row.limit,
      amount(row.flop + row.tensor_flop, 1e9),
      amount(row.distinct_bytes, 1e9),
      row.block_bytes === 0 ? '' : amount(row.block_bytes, 1e9),
      ms(row.distinct_bytes / H200.bandwidth + row.launches * H200.launch),
    ]),
  );
}

/** Kernels of ours whose time exceeds twice what their bytes alone would take. */
function mustBeBetter(sizes) {
  return sizes.flatMap((size) => {
    const { target } = KNOWN[nameOf(size)];
    const budget = target ?? size.step.seconds;
    const rows = size.kernels.filter((row) => {
      const floor = row.distinct_bytes / H200.bandwidth + row.launches * H200.launch;
      return row.seconds > 0.03 * budget && row.seconds > 2 * floor && !/^product/.test(row.kernel);
    });
    const list = rows.map((row) => `\`${row.kernel}\` (${ms(row.seconds)} ms, ${row.limit})`);
    return [`- ${nameOf(size)}: ${list.length === 0 ? 'none' : list.join(', ')}`];
  });
}

export function costPage({ sizes, blocks_run }) {
  return `${[
    '# Where the time must go on a GPU',
    '',
    'Written by `npm run bench:cuda-model -- --write`, before anything has been measured on a GPU.',
    'The engine runs on the emulated driver at the real width, batch and length, two and three',
    `blocks deep, and ${blocks_run} thread blocks of each launch are counted; further blocks of the model`,
    'are as the third. Times are what an H200 needs at least for what was counted, by',
    '`bench/cuda-roofline.mjs`: no occupancy, no bank conflicts, no waiting for the processor, whose',
    'own work (embedding, head, optimizers) is not in them. Measured on that card are the bandwidth',
    `(${amount(H200.bandwidth, 1e12)} TB/s) and the rate of bf16 products (${amount(H200.tensor, 1e12)} TFLOP/s); the rest is its data sheet's.`,
    'bf16, BLoB of rank 8 on q, v and the head; PyTorch is 2.11 with the peer of `bench/peers`.',
    '',
    ...totals(sizes),
    '',
    `Where launches at ${1e6 * HOST} µs each take the host longer than the step, the host decides; graphs would`,
    'relieve it.',
    '',
    'A target counts when it is met on the card, beside PyTorch in the same run',
    '([ADR 0034](adr/0034-what-runs-where-a-gpu-is.md)). What must be better for that, since it takes',
    'more than 3 % of the target and more than twice what its bytes alone would:',
    '',
    ...mustBeBetter(sizes),
    ...sizes.flatMap((size) => [
      ...['', `## ${nameOf(size)}, a step`, ''],
      ...kernels(size.kernels, size.step),
      ...['', `## ${nameOf(size)}, ${size.samples} samples`, ''],
      ...kernels(size.kernels_of_answers, size.answers),
    ]),
  ].join('\n')}\n`;
}
