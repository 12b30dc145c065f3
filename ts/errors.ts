/**
 * What can go wrong, as one class with a stable code.
 *
 * Texts say subject, rule, value received; `hint` says what to do. The first group of codes is the
 * engine's (`Error::code` in `blob-core`); a test holds both lists against each other.
 */

import { withoutFlags } from './names.ts';

let isCommandLine = false;

/**
 * From now on messages of this process name settings by their flags, not as the library's options.
 */
export function speakFlags(): void {
  isCommandLine = true;
}

/** A message as the caller knows its settings; texts are written with flags, in the engine too. */
export function spoken(text: string): string {
  return isCommandLine ? text : withoutFlags(text);
}

export const BPEFT_ERROR_CODES = [
  'BPEFT_INVALID_CONFIG',
  'BPEFT_INVALID_INPUT',
  'BPEFT_IO',
  'BPEFT_MODEL_NOT_FOUND',
  'BPEFT_MODEL_CORRUPT',
  'BPEFT_UNSUPPORTED',
  'BPEFT_ADAPTER',
  'BPEFT_CHECKPOINT',
  'BPEFT_NOT_FINITE',
  'BPEFT_DEVICE',
  'BPEFT_OUT_OF_MEMORY',
  'BPEFT_RANKS',
  'BPEFT_RANK_LOST',
  'BPEFT_ABORTED',
  'BPEFT_WORKER_STOPPED',
  'BPEFT_INTERNAL',
  'BPEFT_BUSY',
  'BPEFT_THREADS',

  'BPEFT_USAGE',
  'BPEFT_DATASET',
  'BPEFT_LABEL_TOKENS',
  'BPEFT_PROMPT_TOO_LONG',
  'BPEFT_RUN_EXISTS',
  'BPEFT_NATIVE_MISSING',
] as const;

export type BpeftErrorCode = (typeof BPEFT_ERROR_CODES)[number];

export interface BpeftErrorOptions {
  /** What to do about it. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

export class BpeftError extends Error {
  /**
   * `AbortError` for work that its signal has stopped, as the platform calls it; otherwise
   * `BpeftError`.
   */
  override readonly name: 'BpeftError' | 'AbortError';
  /** Stable across releases. */
  readonly code: BpeftErrorCode;
  /** What to do about it; absent where the message says it all. */
  readonly hint: string | undefined;

  constructor(code: BpeftErrorCode, message: string, options: BpeftErrorOptions = {}) {
    super(spoken(message), options.cause === undefined ? {} : { cause: options.cause });
    this.name = code === 'BPEFT_ABORTED' ? 'AbortError' : 'BpeftError';
    this.code = code;
    this.hint =
      options.hint === undefined || options.hint === '' ? undefined : spoken(options.hint);
  }
}

/** What work rejects with that `signal` has stopped; its `cause` is the signal's reason. */
export function abortError(
  signal: AbortSignal | undefined,
  message = 'aborted',
  hint?: string | undefined,
): BpeftError {
  return new BpeftError('BPEFT_ABORTED', message, { hint, cause: signal?.reason });
}

/** @throws {BpeftError} {@link abortError} */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortError(signal);
}

/**
 * The addon's rejection as a {@link BpeftError}; what carries no known code becomes
 * `BPEFT_INTERNAL`.
 */
export function fromNative(error: unknown): BpeftError {
  if (error instanceof BpeftError) return error;
  const { code, message, hint } = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: unknown;
    message?: unknown;
    hint?: unknown;
  };
  return new BpeftError(
    isBpeftErrorCode(code) ? code : 'BPEFT_INTERNAL',
    typeof message === 'string' ? message : String(error),
    { hint: typeof hint === 'string' ? hint : undefined, cause: error },
  );
}

/** Any failure as a `BpeftError`; a file system's failure is `BPEFT_IO`. */
export function asBpeftError(error: unknown): BpeftError {
  if (error instanceof BpeftError) return error;
  if (error instanceof Error && 'syscall' in error) {
    return new BpeftError('BPEFT_IO', error.message, { cause: error });
  }
  return fromNative(error);
}

function isBpeftErrorCode(code: unknown): code is BpeftErrorCode {
  return (BPEFT_ERROR_CODES as readonly unknown[]).includes(code);
}
