import { expect, it } from 'vitest';
import { BPEFT_ERROR_CODES, BpeftError, fromNative, speakFlags } from '../../ts/errors.ts';
import { nearestName, unknownName } from '../../ts/nearest.ts';

it('keeps code, message and hint of a native rejection, and the rejection itself', () => {
  const native = Object.assign(new Error('rank must be positive, got 0'), {
    code: 'BPEFT_INVALID_CONFIG',
    hint: 'use 8',
  });
  const error = fromNative(native);
  expect(error).toBeInstanceOf(BpeftError);
  expect(error).toMatchObject({
    name: 'BpeftError',
    code: 'BPEFT_INVALID_CONFIG',
    message: 'rank must be positive, got 0',
    hint: 'use 8',
    cause: native,
  });
});

it.each([
  ['an unknown code', Object.assign(new Error('odd'), { code: 'GenericFailure', hint: '' }), 'odd'],
  ['no error at all', 'odd', 'odd'],
  ['nothing', undefined, 'undefined'],
])('calls %s internal', (_, thrown, message) => {
  expect(fromNative(thrown)).toMatchObject({ code: 'BPEFT_INTERNAL', message, hint: undefined });
});

it('passes its own errors through', () => {
  const error = new BpeftError('BPEFT_DATASET', 'rows.jsonl: the file is empty');
  expect(fromNative(error)).toBe(error);
});

it('has each code once, all with the prefix', () => {
  expect(new Set(BPEFT_ERROR_CODES).size).toBe(BPEFT_ERROR_CODES.length);
  for (const code of BPEFT_ERROR_CODES) expect(code).toMatch(/^BPEFT_[A-Z_]+$/);
});

it.each([
  ['blbo', ['mle', 'blob', 'bbb'], 'blob'],
  ['arc-easy', ['ARC-Challenge', 'ARC-Easy'], 'ARC-Easy'],
  ['boolqq', ['obqa', 'boolq'], 'boolq'],
  ['winogrande', ['winogrande_s', 'winogrande_m'], 'winogrande_s'],
  ['quantum', ['mle', 'blob'], null],
  ['x', [], null],
])('suggests for %s of %j the name %s', (name, known, nearest) => {
  expect(nearestName(name, known)).toBe(nearest);
});

it('lists the known names', () => {
  expect(unknownName('method', 'blbo', ['mle', 'blob'])).toEqual({
    message: 'unknown method "blbo"',
    hint: 'did you mean "blob"? known: mle, blob',
  });
  expect(unknownName('method', 'quantum', ['mle']).hint).toBe('known: mle');
});

it('names settings as the caller knows them: as options, or on the command line as flags', () => {
  const failure = () =>
    fromNative({
      code: 'BPEFT_IO',
      message: '--out x: the disk is full',
      hint: 'free some space and run again with --resume',
    });
  expect(failure()).toMatchObject({
    message: 'out x: the disk is full',
    hint: 'free some space and run again with resume: true',
  });
  speakFlags();
  expect(failure()).toMatchObject({
    message: '--out x: the disk is full',
    hint: 'free some space and run again with --resume',
  });
});
