import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { RunEvent } from '../../ts/events/run-event.ts';
import { broadcast } from '../../ts/events/sinks.ts';
import { tensorboardSink } from '../../ts/tensorboard/sink.ts';
import { evaluationDone, runStarted, stepDone } from '../support/run-events.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { runPython, servicesPython } from './python.ts';

let python = '';
beforeAll(() => {
  python = servicesPython();
}, 600_000);

/**
 * What TensorBoard's own reader finds in a folder, as JSON; a damaged record would be an error or
 * be missing.
 */
const READ = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, IMAGES, TENSORS
from tensorboard.util import tensor_util
accumulator = EventAccumulator(sys.argv[1], size_guidance={IMAGES: 0, TENSORS: 0})
accumulator.Reload()
tags = accumulator.Tags()
def value(event):
    array = tensor_util.make_ndarray(event.tensor_proto)
    return array.item() if array.dtype.kind == 'f' else array[0].decode()
tensors = {tag: [[e.step, value(e)] for e in accumulator.Tensors(tag)] for tag in tags['tensors']}
plugins = {tag: accumulator.SummaryMetadata(tag).plugin_data.plugin_name for tag in tags['tensors']}
images = {tag: [[e.step, e.width, e.height] for e in accumulator.Images(tag)] for tag in tags['images']}
print(json.dumps({'tensors': tensors, 'plugins': plugins, 'images': images}))
`;

interface Found {
  readonly tensors: Readonly<Record<string, [step: number, value: number | string][]>>;
  readonly plugins: Readonly<Record<string, string>>;
  readonly images: Readonly<Record<string, [step: number, width: number, height: number][]>>;
}

async function read(folder: string): Promise<Found> {
  const text = await runPython(python, ['-c', READ, folder]);
  return JSON.parse(text.slice(text.indexOf('{"tensors'), text.lastIndexOf('}') + 1)) as Found;
}

async function log(events: readonly RunEvent[]): Promise<void> {
  const sink = broadcast(tensorboardSink());
  for (const event of events) sink.event(event);
  await sink.close?.({ status: 'finished' });
}

it('is read by TensorBoard: scalars, the configuration and the reliability diagram', async () => {
  const out = temporaryFolder();
  await log([runStarted({ out }), stepDone(1), stepDone(2), evaluationDone({ step: 2 })]);
  const { tensors, plugins, images } = await read(join(out, 'tensorboard'));
  expect(tensors['train/nll']).toEqual([
    [1, 1.5],
    [2, 0.75],
  ]);
  expect(tensors['posterior/kl']).toEqual([
    [1, 299],
    [2, 298],
  ]);
  const prefix = 'arc_easy-validation-n10';
  const [[step, ece] = []] = tensors[`${prefix}/ece`] ?? [];
  expect(step).toBe(2);
  expect(ece).toBeCloseTo(evaluationDone().result.metrics.ece ?? 0, 6);
  expect([plugins['train/nll'], plugins.config]).toEqual(['scalars', 'text']);
  expect(tensors.config?.[0]?.[1]).toContain('"seed": 7');
  expect(images).toEqual({ [`${prefix}/reliability`]: [[2, 300, 300]] });
});

it('goes on with a resumed run, and starts anew with a fresh one in the same folder', async () => {
  const out = temporaryFolder();
  await log([runStarted({ out }), stepDone(1), stepDone(2)]);
  await log([runStarted({ out, resumedAt: 2, logged: 2 }), stepDone(3)]);
  const steps = async () =>
    (await read(join(out, 'tensorboard'))).tensors['train/nll']?.map(([step]) => step);
  expect(await steps()).toEqual([1, 2, 3]);
  await log([runStarted({ out }), stepDone(1)]);
  expect(await steps()).toEqual([1]);
});
