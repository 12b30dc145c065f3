import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { RunEvent } from '../../../ts/events/run-event.ts';
import type { Outcome } from '../../../ts/events/sinks.ts';
import { credentials } from '../../../ts/wandb/environment.ts';
import { LocalRun } from '../../../ts/wandb/local-run.ts';
import { RemoteRun, type RemoteRunOptions } from '../../../ts/wandb/online/remote-run.ts';
import type { RunIdentity } from '../../../ts/wandb/row.ts';
import { WandbSession } from '../../../ts/wandb/session.ts';
import { evaluationDone, runStarted, stepDone } from '../../support/run-events.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { API_KEY, type Fault, IDENTITY_TOKEN, StandInWandb } from '../../support/wandb-server.ts';

async function server(): Promise<StandInWandb> {
  const stand = await StandInWandb.start();
  onTestFinished(() => stand.stop());
  return stand;
}

const QUICK = {
  flushMs: 5,
  heartbeatMs: 40,
  answerMs: 100,
  pauseMs: 5,
  batchMs: 2_000,
  finishMs: 2_000,
};
const EVENTS: readonly RunEvent[] = [
  runStarted(),
  stepDone(1),
  stepDone(2),
  stepDone(3),
  evaluationDone(),
];

interface Told {
  readonly messages: string[];
  readonly remote: RemoteRun;
  readonly folder: string;
}

/** Logs a run online, some events before and some after the server has been asked. */
async function logOnline(
  stand: StandInWandb,
  identity: Partial<RunIdentity> = {},
  options: Partial<RemoteRunOptions> & {
    status?: Outcome['status'];
    events?: readonly RunEvent[];
  } = {},
): Promise<Told> {
  const dir = temporaryFolder();
  const messages: string[] = [];
  const run: RunIdentity = {
    ...identityOf('run-a'),
    ...identity,
  };
  const config = { lr: 1e-4 };
  const made = { metadata: { program: 'bpeft' }, versions: { bpeft: '0.1.0' } };
  const local = await LocalRun.create({ dir, isOnline: true, run, config, ...made });
  const remote = new RemoteRun({
    baseUrl: stand.url,
    credentials: () => ({ kind: 'key', key: API_KEY }),
    initTimeoutMs: 2_000,
    resume: null,
    run,
    config,
    local,
    tell: (message) => messages.push(message),
    times: QUICK,
    ...options,
  });
  const session = new WandbSession({ local, remote, run });
  for (const event of options.events ?? EVENTS) {
    session.event(event);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  const { status = 'finished' } = options;
  await session.close(status === 'finished' ? { status } : { status, error: new Error('no') });
  return { messages, remote, folder: local.path };
}

it('sends rows, configuration, summary, system metrics, output and files, and marks the end', async () => {
  const stand = await server();
  const { messages, remote } = await logOnline(stand);
  expect([messages, remote.isComplete]).toEqual([[], true]);
  const run = stand.run('run-a');
  expect(run.history.map(({ _step }) => _step)).toEqual([0, 1, 2, 3]);
  expect(run.history[2]).toMatchObject({ train_nll_loss: 0.5, step: 3 });
  expect(run.summary).toMatchObject({ val_acc: evaluationDone().result.metrics.acc, _step: 3 });
  expect(run.config).toEqual({ lr: { value: 1e-4 } });
  expect(run.events[0]).toMatchObject({
    'system.proc.memory.rssMB': expect.any(Number),
    _wandb: true,
  });
  expect(run.output.join('\n')).toContain('arc_easy validation');
  const media = [...run.files.keys()].filter((path) => path.startsWith('media/'));
  expect(media.map((path) => path.split('/')[1]).sort()).toEqual(['images', 'table']);
  expect([...run.files.keys()]).toEqual(
    expect.arrayContaining(['config.yaml', 'wandb-metadata.json', 'wandb-summary.json']),
  );
  expect([run.isComplete, run.exitCode]).toEqual([true, 0]);
});

it.each([
  ['failed', 1],
  ['aborted', 130],
] as const)('marks a run that has %s by its exit code', async (status, exitCode) => {
  const stand = await server();
  await logOnline(stand, {}, { status });
  expect(stand.run('run-a')).toMatchObject({ isComplete: true, exitCode });
});

it.each<Fault>(['status-500', 'status-429', 'reset', 'silence', 'slow'])(
  'loses nothing and repeats nothing past answers of kind %s',
  async (fault) => {
    const stand = await server();
    // Each kind of request fails, some of them twice in a row.
    stand.faults = [fault, null, fault, fault, null, fault, null, null, fault, null, fault];
    const { messages, remote } = await logOnline(stand);
    expect([messages, remote.isComplete]).toEqual([[], true]);
    expect(stand.run('run-a').history.map(({ _step }) => _step)).toEqual([0, 1, 2, 3]);
    expect(stand.faults).toEqual([]);
  },
);

it.each<[string, Fault | null, Partial<RemoteRunOptions>, string]>([
  ['is away', 'reset', { initTimeoutMs: 1000 }, 'cannot be reached'],
  ['never answers', 'silence', { initTimeoutMs: 150 }, 'did not answer within 0.1 s'],
  [
    'refuses the key',
    null,
    { credentials: () => ({ kind: 'key', key: 'wrong-secret' }) },
    'refuses the API key',
  ],
  [
    'is to be asked with a token that no file holds',
    null,
    {
      credentials: () => credentials({ WANDB_IDENTITY_TOKEN_FILE: '/nowhere' }, 'http://127.0.0.1'),
    },
    'WANDB_IDENTITY_TOKEN_FILE must name a file with a token',
  ],
  ['has no key to be asked with', null, { credentials: () => null }, 'no API key'],
  ['falls behind', 'silence', { queueLines: 3 }, 'more than 3 lines behind'],
  ['has no run to go on with', null, { resume: 'must' }, 'WANDB_RESUME=must'],
])('goes on offline with one warning when the server %s', async (_, fault, options, reason) => {
  const stand = await server();
  stand.always = fault;
  const { messages, remote, folder } = await logOnline(stand, {}, options);
  expect(messages).toHaveLength(1);
  expect(messages[0]).toContain(reason);
  expect(messages[0]).toContain(`wandb sync --include-online ${folder}`);
  expect(messages[0]).not.toContain('wrong-secret');
  expect(remote.isComplete).toBe(false);
  const log = readFileSync(join(folder, 'run-run-a.wandb'), 'latin1');
  for (const key of ['train_nll_loss', 'final_val_ece', 'reliability']) expect(log).toContain(key);
});

it('ends in time when the server stops answering in the middle', async () => {
  const stand = await server();
  const started = performance.now();
  stand.faults = [null, null, null];
  stand.always = 'silence';
  const { messages } = await logOnline(stand, {}, { times: { ...QUICK, finishMs: 200 } });
  expect(messages).toHaveLength(1);
  expect(performance.now() - started).toBeLessThan(2_000);
});

it('goes on with a run, past the rows that the server has', async () => {
  const stand = await server();
  await logOnline(stand);
  const again = [
    runStarted({ resumedAt: 2, logged: 2 }),
    stepDone(3),
    evaluationDone(),
    stepDone(4),
  ];
  const { messages } = await logOnline(
    stand,
    { startingStep: 2 },
    { resume: 'allow', events: again },
  );
  expect(messages).toEqual([]);
  expect(stand.run('run-a').history.map(({ _step, step }) => [_step, step])).toEqual([
    ...[0, 1, 2].map((index) => [index, index + 1]),
    [3, 3],
    [4, 4],
  ]);
});

it('appends to the run of another command', async () => {
  const stand = await server();
  await logOnline(stand);
  const events = [runStarted({ command: 'eval' }), evaluationDone({ step: null })];
  await logOnline(stand, {}, { resume: 'allow', events });
  expect(stand.run('run-a').history.map(({ _step }) => _step)).toEqual([0, 1, 2, 3, 4]);
});

it.each([null, 'never'] as const)(
  'leaves a run alone that is there already (WANDB_RESUME %s)',
  async (resume) => {
    const stand = await server();
    await logOnline(stand);
    const { messages } = await logOnline(
      stand,
      {},
      { resume, events: [runStarted(), stepDone(1)] },
    );
    expect(messages).toEqual([expect.stringContaining('the server has a run run-a already')]);
    expect(stand.run('run-a').history).toHaveLength(4);
  },
);

it('gives signs of life while nothing happens, since a silent run counts as crashed', async () => {
  const stand = await server();
  await logOnline(stand, {}, { events: [runStarted()] });
  const before = stand.requests.length;
  const dir = temporaryFolder();
  const run = identityOf('quiet');
  const local = await LocalRun.create({
    dir,
    isOnline: true,
    run,
    config: {},
    metadata: {},
    versions: {},
  });
  const remote = new RemoteRun({
    ...{
      baseUrl: stand.url,
      credentials: () => ({ kind: 'key', key: API_KEY }),
      initTimeoutMs: 2_000,
      resume: null,
    },
    ...{ run, config: {}, local, tell: () => undefined, times: QUICK },
  });
  await expect
    .poll(() => stand.requests.slice(before).filter((path) => path.endsWith('file_stream')).length)
    .toBeGreaterThan(2);
  expect(stand.run('quiet').isComplete).toBe(false);
  await local.finish(0, 1);
  await remote.finish(0);
});

it('changes an identity token for an access token, and is refused with a wrong one', async () => {
  const stand = await server();
  const withToken = (token: string, id: string) =>
    logOnline(stand, { id }, { credentials: () => ({ kind: 'token', token }) });
  expect((await withToken(IDENTITY_TOKEN, 'good')).remote.isComplete).toBe(true);
  expect(stand.run('good').history).toHaveLength(4);
  const { messages } = await withToken('not.the.token', 'bad');
  expect(messages).toEqual([expect.stringContaining('refuses the API key (status 401)')]);
  expect(messages.join()).not.toContain('not.the.token');
});

it('writes the key nowhere', async () => {
  const stand = await server();
  const { folder } = await logOnline(stand);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  expect(files.length).toBeGreaterThan(3);
  const secret = Buffer.from(`api:${API_KEY}`).toString('base64');
  for (const file of files) {
    const text = readFileSync(join(file.parentPath, file.name), 'latin1');
    expect(text.includes(API_KEY) || text.includes(secret)).toBe(false);
  }
});

function identityOf(id: string): RunIdentity {
  return {
    ...{
      id,
      project: 'p',
      entity: 'e',
      name: id,
      notes: null,
      tags: [],
      group: null,
      jobType: null,
    },
    ...{ sweepId: null, startingStep: 0, startTimeMs: Date.now() },
  };
}
