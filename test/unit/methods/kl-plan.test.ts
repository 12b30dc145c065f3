import { expect, it } from 'vitest';
import { klNeverActs } from '../../../ts/methods/kl-plan.ts';

const plan = (cycle: number, pulses: number) => ({
  ...{ cycle, pulses, uniform: false, weightSum: 1 },
  ...{ sigmaStart: 0.1, sigmaEnd: 0.1, shrinkEnd: 1 },
});

it.each([
  [
    plan(100, 1),
    100,
    /^the KL hardly acts: .* gives 1 pulses; give --kl-cycle 10 or train longer$/,
  ],
  [plan(2, 1), 4, /give --kl-cycle 1 or train longer$/],
])('says what to do about a KL that hardly acts', (kl, steps, message) => {
  expect(klNeverActs(kl, steps)).toMatch(message);
});

it('says nothing where the KL acts, comes at each update, or is not there', () => {
  expect([klNeverActs(plan(10, 3), 30), klNeverActs({ ...plan(9, 1), uniform: true }, 9)]).toEqual([
    null,
    null,
  ]);
  expect([klNeverActs(plan(1, 1), 1), klNeverActs(plan(1, 2), 2)]).toEqual([null, null]);
  expect(klNeverActs(null, 1)).toBeNull();
});
