import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { BpeftProcess, type Finished, trainArgs } from '../support/bpeft-process.ts';
import { NO_PROXIES, StandInProxy } from '../support/proxy-server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { API_KEY, StandInWandb } from '../support/wandb-server.ts';
import { runPython, servicesPython } from './python.ts';

async function server(): Promise<StandInWandb> {
  const stand = await StandInWandb.start();
  onTestFinished(() => stand.stop());
  return stand;
}

function train(
  out: string,
  stand: StandInWandb,
  key: string,
  more: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const environment = {
    ...NO_PROXIES,
    ...{
      WANDB_MODE: 'online',
      WANDB_BASE_URL: stand.url,
      WANDB_API_KEY: key,
      WANDB_RUN_ID: 'online',
    },
    WANDB_INIT_TIMEOUT: '2',
    ...more,
  };
  const args = trainArgs(out, '--max-steps', '4', '--eval-limit', '8', '--eval-samples', '4,0');
  return new BpeftProcess(args, { environment }).finished;
}

/** What the run's own record says of its history. */
function recorded(out: string): object[] {
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line)).map(({ type, step, nll }) => ({ type, step, nll }));
}

/** The same of what the server has. */
const sent = (stand: StandInWandb) =>
  stand.run('online').history.map(({ step, train_nll_loss: nll, ...row }) => ({
    type: nll !== undefined ? 'step' : hasScores(row) ? 'evaluation' : 'posterior',
    ...{ step, nll },
  }));

function hasScores(row: object): boolean {
  return Object.keys(row).some((key) => key.endsWith('val_entropy'));
}

it('sends a real training while it goes on: a row for each line of its record', async () => {
  const [out, stand] = [join(temporaryFolder(), 'run'), await server()];
  const { code, stderr } = await train(out, stand, API_KEY);
  expect([code, stderr.includes('W&B')]).toEqual([0, false]);
  expect(sent(stand)).toEqual(recorded(out));
  expect(stand.run('online')).toMatchObject({ isComplete: true, exitCode: 0 });
  expect(stand.run('online').variables).toMatchObject({
    displayName: 'run',
    project: 'bpeft',
    jobType: 'train',
  });
});

it('goes through the proxy that the environment names, and goes on offline where that is no address', async () => {
  const [stand, proxy] = [await server(), await StandInProxy.start()];
  onTestFinished(() => proxy.stop());
  const folder = temporaryFolder();
  const through = (out: string, more: Record<string, string>) =>
    train(join(folder, out), stand, API_KEY, more);
  expect(await through('run', { HTTP_PROXY: proxy.url })).toMatchObject({ code: 0 });
  expect(stand.run('online').isComplete).toBe(true);
  expect(proxy.seen.map((asked) => asked.split(stand.url).at(-1))).toEqual(stand.requests);
  const { code, stderr } = await through('other', { HTTP_PROXY: 'socks5://user:secret@host' });
  expect(code).toBe(0);
  expect(stderr).toContain('W&B goes on offline');
  expect(stderr).toContain('HTTP_PROXY must be the address of an http proxy, got "…@host"');
  expect(stderr).not.toContain('secret');
});

it.each([
  ['answers with errors', 'status-500', API_KEY, 'answers with status 500'],
  ['refuses the key', null, 'not-the-key-not-the-key', 'refuses the API key (status 401)'],
] as const)(
  'trains on when the server %s, and wandb sync takes up the whole run later',
  async (_, fault, key, reason) => {
    const [out, stand] = [join(temporaryFolder(), 'run'), await server()];
    stand.always = fault;
    const { code, stderr, stdout } = await train(out, stand, key);
    expect(code).toBe(0);
    expect(stderr.match(/W&B goes on offline/g)).toHaveLength(1);
    expect(stderr).toContain(reason);
    expect(stderr + stdout).not.toContain(key);
    stand.always = null;
    // The very command that the warning gives.
    const [, ...words] = /later: (wandb sync .*)$/m.exec(stderr)?.[1]?.split(' ') ?? [];
    const environment = {
      WANDB_API_KEY: API_KEY,
      WANDB_BASE_URL: stand.url,
      WANDB_DIR: temporaryFolder(),
    };
    await runPython(servicesPython(), ['-m', 'wandb', ...words], environment);
    expect(sent(stand)).toEqual(recorded(out));
  },
);
