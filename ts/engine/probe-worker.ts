/**
 * Tries a GPU in a process of its own, which a broken driver may end or keep waiting: driver,
 * libraries, kernels, and whether a few of them run.
 */

import { asBpeftError } from '../errors.ts';
import { loadNative } from './native.ts';
import type { ProbeRequest, Verdict } from './probe.ts';

process.once('message', (request: ProbeRequest) => void answer(request));

async function answer(request: ProbeRequest): Promise<void> {
  let verdict: Verdict = null;
  try {
    await tryOut(request.device);
  } catch (error) {
    const { code, message, hint } = asBpeftError(error);
    verdict = { code, message, hint: hint ?? null };
  }
  process.send?.(verdict ?? { isUsable: true }, () => process.disconnect());
}

/** A model of random weights answers one prompt. */
async function tryOut(device: ProbeRequest['device']): Promise<void> {
  const addon = loadNative();
  await addon.openDevice(JSON.stringify(device));
  const options = {
    ...{ source: { kind: 'random', seed: 1 }, precision: 'f32', quantize: null, threads: 1 },
    device,
  };
  const model = await addon.NativeModel.load(JSON.stringify(options), new addon.NativeReading());
  const adapter = await model.createAdapter(
    JSON.stringify({
      ...{ rank: 1, alpha: 1, dropout: 0, targetModules: ['q_proj'], seed: 1 },
      posterior: { sigma: 'square', initEps: 0.05 },
    }),
  );
  const batch = {
    ids: Uint32Array.of(1, 2, 3),
    offsets: Uint32Array.of(0, 3),
    answers: Uint32Array.of(65, 66),
    answerOffsets: Uint32Array.of(0, 2),
    labels: Int32Array.of(-1),
    rows: Uint32Array.of(0),
  };
  const asked = { samples: 1, noise: 'token', seed: 1, stochasticLayers: null };
  await adapter.predict(batch, JSON.stringify(asked));
  await model.dispose();
}
