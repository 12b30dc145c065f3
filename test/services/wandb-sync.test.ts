import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import type { RunEvent } from '../../ts/events/run-event.ts';
import { broadcast } from '../../ts/events/sinks.ts';
import { wandbSink } from '../../ts/wandb/sink.ts';
import { BpeftProcess, trainArgs } from '../support/bpeft-process.ts';
import { evaluationDone, runStarted, stepDone } from '../support/run-events.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { API_KEY, StandInWandb } from '../support/wandb-server.ts';
import { runPython, servicesPython } from './python.ts';

let python = '';
beforeAll(() => {
  python = servicesPython();
}, 600_000);

/** Folder of the only W&B run below `dir`. */
function runFolders(dir: string): string[] {
  return readdirSync(join(dir, 'wandb'))
    .filter((name) => name.startsWith('offline-run-'))
    .sort()
    .map((name) => join(dir, 'wandb', name));
}

async function log(
  events: readonly RunEvent[],
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  const sink = broadcast(
    wandbSink({ environment: { WANDB_MODE: 'offline', ...environment }, tell: () => undefined }),
  );
  for (const event of events) sink.event(event);
  await sink.close?.({ status: 'finished' });
}

/** The official client uploads the folders. */
async function sync(server: StandInWandb, ...folders: string[]): Promise<string> {
  return runPython(python, ['-m', 'wandb', 'sync', ...folders], {
    WANDB_API_KEY: API_KEY,
    WANDB_BASE_URL: server.url,
    WANDB_DIR: temporaryFolder(), // where it keeps its own logs
    WANDB_CONFIG_DIR: temporaryFolder(),
    WANDB_CACHE_DIR: temporaryFolder(),
  });
}

async function server(): Promise<StandInWandb> {
  const stand = await StandInWandb.start();
  onTestFinished(() => stand.stop());
  return stand;
}

it('is taken up by wandb sync: every row, the configuration, the summary and the files', async () => {
  const [dir, stand] = [temporaryFolder(), await server()];
  await log([runStarted(), stepDone(1), stepDone(2), stepDone(3), evaluationDone()], {
    WANDB_DIR: dir,
    WANDB_RUN_ID: 'run-a',
    WANDB_PROJECT: 'Bayes LoRA',
    WANDB_ENTITY: 'a-team',
    WANDB_NAME: 'first',
    WANDB_NOTES: 'a note',
    WANDB_TAGS: 'x,y',
    WANDB_RUN_GROUP: 'group',
    WANDB_JOB_TYPE: 'tests',
  });
  const [folder = ''] = runFolders(dir);
  await sync(stand, folder);
  const run = stand.run('run-a');
  expect(run.variables).toMatchObject({
    ...{
      project: 'Bayes LoRA',
      entity: 'a-team',
      displayName: 'first',
      notes: 'a note',
      tags: ['x', 'y'],
    },
    ...{ groupName: 'group', jobType: 'tests' },
  });
  expect(run.config).toMatchObject({ lr: { value: 1e-4 }, method: { value: 'blob' } });
  expect(run.history.map((row) => row._step)).toEqual([0, 1, 2, 3]);
  expect(run.history[1]).toMatchObject({
    ...{
      train_acc: 75,
      train_nll_loss: 0.75,
      lr: 2e-4,
      kl_loss: 74.5,
      elbo_loss: 298.75,
      pi: 0.25,
      step: 2,
    },
  });
  const { metrics } = evaluationDone().result;
  const scores = {
    ...{
      val_acc: metrics.acc,
      val_ece: metrics.ece,
      val_nll: metrics.nll,
      val_brier: metrics.brier,
    },
    ...{ final_val_acc: metrics.acc, final_val_ece: metrics.ece, final_val_nll: metrics.nll },
    ...{ final_val_brier: metrics.brier, std: 0.125 },
  };
  expect(run.history[3]).toMatchObject(scores);
  expect(run.summary).toMatchObject({ ...scores, train_nll_loss: 0.5, _step: 3 });
  expect([run.isComplete, run.exitCode]).toEqual([true, 0]);
  const { reliability } = run.history[3] as { reliability: { path: string; _type: string } };
  expect(reliability._type).toBe('image-file');
  const picture = run.files.get(reliability.path);
  expect(picture).toEqual(readFileSync(join(folder, 'files', reliability.path)));
  expect(parse(readFileSync(join(folder, 'files/config.yaml'), 'utf8')).lr).toEqual({
    value: 1e-4,
  });
  expect(run.files.get('requirements.txt')?.toString()).toContain('bpeft==0.1.0\nengine==0.1.0\n');
  expect(run.output.join('\n')).toContain('arc_easy validation (3 rows, 10 samples)');
});

it('goes on with a resumed run: two folders of one id become one history', async () => {
  const [dir, stand] = [temporaryFolder(), await server()];
  const environment = { WANDB_DIR: dir, WANDB_RUN_ID: 'run-b' };
  await log([runStarted(), stepDone(1), stepDone(2)], environment);
  await log([runStarted({ resumedAt: 2, logged: 2 }), stepDone(3), evaluationDone()], environment);
  await sync(stand, ...runFolders(dir));
  expect(stand.run('run-b').history.map(({ _step, step }) => [_step, step])).toEqual([
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 3],
  ]);
});

it('is whole up to the last step of a process that was killed, which wandb sync marks as failed', async () => {
  const [out, stand] = [join(temporaryFolder(), 'run'), await server()];
  const environment = { WANDB_MODE: 'offline', WANDB_RUN_ID: 'killed' };
  const child = new BpeftProcess(trainArgs(out, '--max-steps', '500'), { environment });
  await child.seen('step 20/500');
  child.kill('SIGKILL');
  await child.finished;
  const steps = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  await sync(stand, ...runFolders(out));
  const run = stand.run('killed');
  const known = steps.map((line) => JSON.parse(line) as { step: number; nll: number });
  // The last row may have been on its way.
  expect(run.history.length).toBeGreaterThanOrEqual(19);
  expect(known.length - run.history.length).toBeLessThanOrEqual(1);
  expect(run.history.map((row) => [row.step, row.train_nll_loss])).toEqual(
    known.slice(0, run.history.length).map(({ step, nll }) => [step, nll]),
  );
  expect([run.isComplete, run.exitCode]).toEqual([true, 1]);
});
