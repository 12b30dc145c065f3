import { expect, it } from 'vitest';
import { z } from 'zod';
import { descriptionOf, valueFromText } from '../../../ts/config/text.ts';

it('makes of a text what its schema expects', () => {
  const number = z.number().default(3).optional();
  expect(valueFromText(number, '0.5')).toBe(0.5);
  expect(valueFromText(number, '1e-3')).toBe(0.001);
  expect(valueFromText(z.string(), '0.5')).toBe('0.5');
  expect(valueFromText(z.array(z.int()), '1,2')).toEqual([1, 2]);
  expect(valueFromText(z.array(z.string()), '1,2')).toEqual(['1', '2']);
  const mixed = z.union([z.literal('auto'), z.int()]);
  expect([valueFromText(mixed, '4'), valueFromText(mixed, 'auto')]).toEqual([4, 'auto']);
  expect(valueFromText(z.union([z.literal('a'), z.literal('b')]), '4')).toBe('4');
});

it('leaves to the schema what is no number, though JavaScript takes white space for 0', () => {
  for (const text of ['', ' ', '\t', 'x', '1x']) expect(valueFromText(z.number(), text)).toBe(text);
});

it('finds a description below a default, and none where there is none', () => {
  const described = z.number().describe('how many');
  expect(descriptionOf(described.optional())).toBe('how many');
  expect(descriptionOf(described.default(1))).toBe('how many');
  expect(descriptionOf(described.default(1).describe('better'))).toBe('better');
  expect(descriptionOf(z.number())).toBeUndefined();
});
