// results.json for people.

const milliseconds = (seconds) => `${(1000 * seconds).toPrecision(3)} ms`;
const gb = (bytes) => `${(bytes / 1e9).toFixed(1)} GB`;
const times = (ratio) => `${ratio.toPrecision(2)} ×`;

const last = (text) => text.trim().split('\n').at(-1).replaceAll('|', '\\|');

/** A cell for what has no number. */
function otherwise(row, key, text) {
  if (row === undefined) return 'not run';
  if (row.out_of_memory !== undefined) return 'out of memory';
  if (row[key] === undefined) return `not run: ${last(row.notRun ?? 'its time was up')}`;
  return text(row[key]);
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

/** One part's verdict. */
function verdict([name, part]) {
  const outcome = part.passed === false ? 'failed' : part.passed === true ? 'passed' : 'run';
  const why = last(part.notRun ?? '');
  const word = part.notRun !== undefined && part.passed !== false ? 'not run' : outcome;
  return [name, why === '' ? word : `${word}: ${why}`, `${part.seconds.toFixed(0)} s`];
}

function tests({ parts }) {
  const rows = [...(parts.kernels?.rows ?? []), ...(parts.engine?.rows ?? [])];
  return table(
    ['program', 'passed', 'failed', 'what it said'],
    rows.map(({ program, passed, failed, said }) => [
      program,
      passed,
      failed,
      (said ?? '').replaceAll('\n', '; ').replaceAll('|', '\\|'),
    ]),
  );
}

function parity({ parts: { parity: found } }) {
  if (found?.precisions === undefined) return [found?.notRun ?? 'not run'];
  const rows = Object.entries(found.precisions).map(([precision, one]) => [
    precision,
    one.losses.toExponential(1),
    one.logits.toExponential(1),
    found.allowed[precision],
    one.same_bits ? 'yes' : 'NO',
  ]);
  return [
    ...table(['precision', 'losses', 'logits', 'allowed', 'same bits twice'], rows),
    '',
    `${found.bytes_kept} bytes of the GPU were not free again after the models were disposed of.`,
  ];
}

function sanitizer({ parts: { sanitizer: found } }) {
  const rows = (found?.rows ?? []).map(({ tool, program, summary, fault, notRun }) => [
    tool,
    program,
    summary ?? (fault === undefined ? `not run: ${notRun}` : `FAULT: ${fault}`).split('\n')[0],
  ]);
  return table(['tool', 'program', 'outcome'], rows);
}

/** Ours and theirs at one size. */
function sizes({ parts }) {
  const found = [];
  for (const [name, part] of Object.entries(parts)) {
    const size = /^PyTorch (\S+) (\d+) × (\d+)$/.exec(name);
    if (size === null) continue;
    const [, shape, batch, tokens] = size;
    const rows = parts[`bpeft ${shape}`]?.rows ?? [];
    const of = (what) =>
      rows.find(
        (row) => row.what === what && row.batch === Number(batch) && row.tokens === Number(tokens),
      );
    const load = rows.find(({ what }) => what === 'load');
    const label = `${shape}, ${batch} × ${tokens}`;
    const ours = {
      ...{ load, step: of('step'), samples: of('samples'), profile: of('profile') },
      ...{ graphStep: of('step by graphs'), graphSamples: of('samples by graphs') },
    };
    found.push({
      name: label,
      shape,
      batch: Number(batch),
      tokens: Number(tokens),
      theirs: part,
      ours,
    });
  }
  return found;
}

/** 4·P FLOP a token, P without tables, over the rate of products that PyTorch measured beside. */
function mfu({ theirs, ours: { step } }) {
  if (step?.step_s === undefined || theirs.mfu === undefined) return '';
  return ((theirs.mfu * theirs.train_step_s) / step.step_s).toFixed(3);
}

function benchmark(results) {
  const rows = sizes(results).map((size) => {
    const { name, theirs, ours } = size;
    const { step, samples } = ours;
    const both = step?.step_s !== undefined && theirs.train_step_s !== undefined;
    return [
      name,
      otherwise(step, 'step_s', milliseconds),
      otherwise(theirs, 'train_step_s', milliseconds),
      both ? times(theirs.train_step_s / step.step_s) : '',
      step?.tokens_per_s ?? '',
      mfu(size),
      otherwise(samples, 'samples_s', milliseconds),
      otherwise(theirs, 'predict_s', milliseconds),
      otherwise(step, 'peak_bytes', gb),
      otherwise(theirs, 'peak_gpu_mb', (mb) => gb(mb * 2 ** 20)),
      ours.graphStep === undefined ? '' : otherwise(ours.graphStep, 'step_s', milliseconds),
      ours.graphSamples === undefined
        ? ''
        : otherwise(ours.graphSamples, 'samples_s', milliseconds),
    ];
  });
  const head = ['shape', 'step', 'PyTorch', 'faster', 'tokens/s', 'MFU', 'N samples', 'PyTorch'];
  return table([...head, 'peak memory', 'PyTorch', 'step by graphs', 'N samples by graphs'], rows);
}

/** Measured beside the model of where the time must go (docs/gpu-cost-model.md). */
function profiles(results, costs) {
  return sizes(results).flatMap(({ name, shape, batch, tokens, ours: { profile } }) => {
    if (profile?.kernels === undefined)
      return ['', `### ${name}`, '', profile?.notRun ?? 'not run'];
    const modelled = costs.find(
      (one) => one.shape === shape && one.batch === batch && one.tokens === tokens,
    );
    const { wall_s, busy_s, kernels } = profile;
    const rows = kernels.slice(0, 20).map(({ name: kernel, launches, seconds }) => {
      const expected = modelled?.kernels.find((one) => one.kernel === kernel);
      return [
        `\`${kernel.slice(0, 70).replaceAll('|', '\\|')}\``,
        launches,
        milliseconds(seconds),
        `${((100 * seconds) / busy_s).toFixed(1)} %`,
        expected === undefined ? '' : milliseconds(expected.seconds),
      ];
    });
    const idle = ((100 * (wall_s - busy_s)) / wall_s).toFixed(0);
    return [
      ...['', `### ${name}`, ''],
      `A step under the profiler took ${milliseconds(wall_s)}; the GPU had nothing to do for ${idle} %.`,
      '',
      ...table(['kernel', 'launches', 'time', 'of it', 'modelled'], rows),
    ];
  });
}

export function page(results, costs) {
  const { contents, gpu } = results;
  const driver = results.parts.doctor?.found?.gpu?.driver ?? 'unknown';
  return `${[
    `# bpeft on ${gpu ?? 'no GPU'}`,
    '',
    `Commit ${contents.commit}, kernels of CUDA ${contents.cuda}, driver for CUDA ${driver}, ${results.began}.`,
    '',
    ...table(['part', 'outcome', 'time'], Object.entries(results.parts).map(verdict)),
    ...['', '## Numbers', '', 'Differences are relative to the largest value.', ''],
    ...parity(results),
    ...['', '## Tests', ''],
    ...tests(results),
    ...['', '## compute-sanitizer', ''],
    ...sanitizer(results),
    ...['', '## Beside PyTorch and PEFT, in the same run', ''],
    ...benchmark(results),
    ...['', '## Where the time goes'],
    ...profiles(results, costs.sizes),
  ].join('\n')}\n`;
}
