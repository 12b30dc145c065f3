/** Exit codes, and how an error reaches people and programs. */

import type { BpeftError, BpeftErrorCode } from '../errors.ts';

export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Codes for which the command could not have worked: bad usage or bad input. */
const INPUT_CODES: ReadonlySet<BpeftErrorCode> = new Set<BpeftErrorCode>([
  'BPEFT_USAGE',
  'BPEFT_INVALID_CONFIG',
  'BPEFT_INVALID_INPUT',
  'BPEFT_DATASET',
  'BPEFT_LABEL_TOKENS',
  'BPEFT_PROMPT_TOO_LONG',
  'BPEFT_MODEL_NOT_FOUND',
  'BPEFT_MODEL_CORRUPT',
  'BPEFT_UNSUPPORTED',
  'BPEFT_ADAPTER',
  'BPEFT_CHECKPOINT',
  'BPEFT_RUN_EXISTS',
]);

/** Thrown by a command whose own output says what failed. */
export class ToldFailure extends Error {}

export function exitCode(error: BpeftError): number {
  if (error.code === 'BPEFT_ABORTED') return EXIT.interrupted;
  return INPUT_CODES.has(error.code) ? EXIT.usage : EXIT.failed;
}

export function errorJson({ code, message, hint }: BpeftError): string {
  return `${JSON.stringify({ error: { code, message, hint: hint ?? null } })}\n`;
}

export function errorText(error: BpeftError): string {
  const hint = error.hint === undefined ? '' : `  hint: ${error.hint}\n`;
  const trace =
    process.env.BPEFT_LOG === 'debug' ? `${error.stack ?? ''}\n${String(error.cause ?? '')}\n` : '';
  return `${error.code === 'BPEFT_ABORTED' ? 'stopped' : 'error'} ${error.code}: ${error.message}\n${hint}${trace}`;
}
