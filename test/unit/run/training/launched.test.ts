import { expect, it } from 'vitest';
import { launchedRanks } from '../../../../ts/run/training/launched.ts';

const OF_TORCHRUN = {
  WORLD_SIZE: '4',
  RANK: '3',
  LOCAL_RANK: '1',
  MASTER_ADDR: 'node-0',
  MASTER_PORT: '29500',
};

it('is the place that a launcher names', () => {
  const place = { rank: 3, worldSize: 4, localRank: 1, masterAddr: 'node-0', masterPort: 29_500 };
  expect(launchedRanks(OF_TORCHRUN)).toEqual(place);
  const { LOCAL_RANK: _, ...withoutLocal } = OF_TORCHRUN;
  expect(launchedRanks(withoutLocal)).toEqual({ ...place, localRank: 0 });
  const patience = { BPEFT_MEET_SECONDS: '30', BPEFT_SILENCE_SECONDS: '5' };
  const patient = { ...place, meetSeconds: 30, silenceSeconds: 5 };
  expect(launchedRanks({ ...OF_TORCHRUN, ...patience })).toEqual(patient);
});

it("takes the port behind torchrun's, where its own store listens", () => {
  const environment = { ...OF_TORCHRUN, TORCHELASTIC_USE_AGENT_STORE: 'True' };
  expect(launchedRanks(environment)).toMatchObject({ masterPort: 29_501 });
});

it.each([{}, { WORLD_SIZE: '1', RANK: '0' }, { WORLD_SIZE: '' }, { RANK: '1' }])(
  'trains alone with %j',
  (environment) => {
    expect(launchedRanks(environment)).toBeUndefined();
  },
);

it.each([
  [{ RANK: undefined }, 'RANK must be a whole number, got nothing'],
  [{ RANK: '4' }, 'RANK must be a whole number from 0 to 3, got 4'],
  [{ WORLD_SIZE: 'two' }, 'WORLD_SIZE must be a whole number, got "two"'],
  [{ WORLD_SIZE: '2048', RANK: '1' }, 'WORLD_SIZE must be a whole number from 1 to 1024, got 2048'],
  [{ MASTER_PORT: '0' }, 'MASTER_PORT must be a whole number from 1 to 65535, got 0'],
  [{ MASTER_ADDR: undefined }, 'MASTER_ADDR must name the machine of rank 0, got nothing'],
  [{ LOCAL_RANK: '-1' }, 'LOCAL_RANK must be a whole number, got "-1"'],
  [{ BPEFT_MEET_SECONDS: 'soon' }, 'BPEFT_MEET_SECONDS must be a whole number, got "soon"'],
])('refuses %j', (change, message) => {
  const launch = () => launchedRanks({ ...OF_TORCHRUN, ...change });
  expect(launch).toThrow(expect.objectContaining({ code: 'BPEFT_USAGE', message }));
});
