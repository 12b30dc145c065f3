import { expect, it } from 'vitest';
import {
  changeOf,
  type Look,
  searchOf,
  searchSigma,
  type TfbSettings,
} from '../../../ts/methods/tfb.ts';

const settings = { anchors: 500, criterion: 'nll', protocol: 'corrected' } as TfbSettings;

/** The looks and the answer of a search where the change is a function of sigma. */
async function found(given: Partial<TfbSettings>, change: (sigma: number) => number) {
  const looks: Look[] = [];
  const sigma = await searchSigma(
    searchOf({ ...settings, ...given }),
    async (at) => change(at),
    (look) => looks.push(look),
  );
  return { sigma, looks };
}

it('corrected: returns the largest sigma within the tolerance, in at most 15 passes over the anchors', async () => {
  // Within 0.003 up to sqrt(0.003 / 7).
  const { sigma, looks } = await found({}, (at) => 7 * at * at);
  const largest = Math.sqrt(0.003 / 7);
  expect(sigma).toBeLessThanOrEqual(largest);
  expect(sigma).toBeGreaterThan(0.995 * largest);
  expect(looks.length + 1).toBeLessThanOrEqual(15);
  expect(looks.filter(({ isWithin }) => isWithin).every((look) => look.sigma <= sigma)).toBe(true);
});

it('corrected: gives the upper end where it is within, and refuses where the lower end is not', async () => {
  expect((await found({ sigmaMax: 0.5 }, () => 0)).sigma).toBe(0.5);
  await expect(found({}, () => 1)).rejects.toMatchObject({ code: 'BPEFT_USAGE' });
  await expect(found({}, () => Number.NaN)).rejects.toMatchObject({ code: 'BPEFT_USAGE' });
});

it.each([
  // 0.001 + 0.014·k/32, as the published scripts have them: the smallest sigma seen to be outside.
  [8, 0.0045],
  [10, 0.005375],
  [12, 0.00625],
  [20, 0.00975],
])('reference: ends at its grid point %d', async (k, expected) => {
  const limit = 0.001 + (0.014 * (k - 0.5)) / 32;
  const { sigma, looks } = await found({ protocol: 'reference' }, (at) => (at > limit ? 1 : 0));
  expect(sigma).toBeCloseTo(expected, 12);
  expect(looks).toHaveLength(5);
  expect(looks[0]?.sigma).toBe(0.008);
});

it('reference: keeps the upper end where nothing is outside, and stops at 5e-4 by answers', async () => {
  expect((await found({ protocol: 'reference' }, () => 0)).sigma).toBe(0.015);
  const { looks } = await found(
    { protocol: 'reference', criterion: 'accuracy', iterations: 9 },
    () => 0,
  );
  expect(looks).toHaveLength(5);
});

const rows = (...probs: number[][]) => probs.map((row) => Float64Array.from(row));

it('measures the change of the NLL of the answers at the mean', () => {
  const [before, after] = [rows([0.8, 0.2], [0.3, 0.7]), rows([0.4, 0.6], [0.35, 0.65])];
  const relative = Math.log(0.56 / 0.26) / -Math.log(0.56);
  const nll = { criterion: 'nll', protocol: 'corrected' } as const;
  expect(changeOf(nll, before, after)).toBeCloseTo(relative, 12);
  // Over the two anchors once more.
  expect(changeOf({ ...nll, protocol: 'reference' }, before, after)).toBeCloseTo(relative / 2, 9);
  expect(changeOf({ ...nll, criterion: 'accuracy' }, before, after)).toBe(0.5);
});

it('has no part of an NLL of zero', () => {
  const sure = rows([1, 0]);
  const nll = { criterion: 'nll', protocol: 'corrected' } as const;
  expect(changeOf(nll, sure, sure)).toBe(0);
  expect(changeOf(nll, sure, rows([0.9, 0.1]))).toBe(Number.POSITIVE_INFINITY);
});

it('refuses an interval without inside', () => {
  expect(() => searchOf({ ...settings, sigmaMin: 1, sigmaMax: 0.1 })).toThrow(
    'sigmaMin must be below',
  );
});
