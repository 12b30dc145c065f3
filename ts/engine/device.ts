/**
 * Where a model lies: the caller's choice, else `BPEFT_DEVICE`, else a GPU where one can be used.
 */

import { BpeftError } from '../errors.ts';
import { native } from './abort.ts';
import { engineInfo } from './engine-info.ts';
import { kernelFolder, loadNative } from './native.ts';
import { requireUsable } from './probe.ts';

type Device =
  | { readonly kind: 'auto' | 'cpu' }
  | { readonly kind: 'cuda'; readonly ordinal: number | null };

/** A device that is open, as the engine takes it. */
export interface OpenDevice {
  readonly device:
    | { readonly kind: 'cpu' }
    | { readonly kind: 'cuda'; readonly ordinal: number; readonly kernels: string };
  /** Why `auto` is no GPU, though the engine could use one. */
  readonly noGpu: string | null;
}

/** Devices of this process, as text. */
const opened = new Set<string>();

/** @throws {BpeftError} `BPEFT_USAGE`: not auto, cpu or cuda[:N]. */
export function namedDevice(asked: string | undefined): Device {
  if (asked !== undefined && asked !== 'auto') return parse('--device', asked);
  const text = process.env.BPEFT_DEVICE;
  return text === undefined || text === '' ? { kind: 'auto' } : parse('BPEFT_DEVICE', text);
}

function parse(name: string, text: string): Device {
  if (text === 'auto' || text === 'cpu') return { kind: text };
  const [, ordinal] = /^cuda(?::(\d{1,3}))?$/.exec(text) ?? [];
  if (ordinal !== undefined || text === 'cuda')
    return { kind: 'cuda', ordinal: ordinal === undefined ? null : Number(ordinal) };
  throw new BpeftError(
    'BPEFT_USAGE',
    `${name} must be auto, cpu or cuda[:N], got ${JSON.stringify(text)}`,
  );
}

/**
 * Opens the device before anything is read for it; a process of its own has tried it before.
 * @param first the GPU that `auto` and `cuda` mean
 * @throws {BpeftError} `BPEFT_USAGE`; `BPEFT_DEVICE` saying what the GPU lacks, if one was asked
 * for; `BPEFT_OUT_OF_MEMORY`.
 */
export async function openDevice(asked: string | undefined, first = 0): Promise<OpenDevice> {
  const named = namedDevice(asked);
  const { kind } = named;
  const addon = loadNative();
  const { cuda } = engineInfo();
  if (kind === 'cpu' || (kind === 'auto' && !cuda)) return { device: { kind: 'cpu' }, noGpu: null };
  const ordinal = (named.kind === 'cuda' ? named.ordinal : null) ?? first;
  const device = { kind: 'cuda', ordinal, kernels: kernelFolder() } as const;
  const text = JSON.stringify(device);
  try {
    if (!opened.has(text)) await requireUsable(device, kind === 'cuda');
    opened.add(text); // the driver keeps it open: from here on this process depends on it
    await native(() => addon.openDevice(text));
    return { device, noGpu: null };
  } catch (error) {
    if (kind === 'cuda' || !(error instanceof BpeftError)) throw error;
    return { device: { kind: 'cpu' }, noGpu: error.message };
  }
}
