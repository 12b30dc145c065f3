import { expect, it } from 'vitest';
import { manyWorkers } from '../../support/many-workers.ts';
import { runNode, workerScript } from '../../support/node-process.ts';

it('is loaded first by a worker thread, by many after it, and then by the main thread', async () => {
  expect(await manyWorkers(24)).toMatchObject({
    code: 0,
    signal: null,
    stdout: '24 workers, main: hi\n',
  });
});

it('is used by worker threads at once, and goes on after one is terminated in the middle of training', async () => {
  const using = workerScript(`
    import { parentPort } from 'node:worker_threads';
    const model = await bpeft.loadModel({ model: 'builtin:random' });
    parentPort.postMessage('loaded');
    await trainForever(model);
  `);
  const ended = await runNode(`
    import { Worker } from 'node:worker_threads';
    const workers = Array.from({ length: 4 }, () => new Worker(new URL(${using})));
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
    await sleep(100);
    for (const worker of workers) console.log(await worker.terminate());
    const model = await bpeft.loadModel({ model: 'builtin:random' });
    console.log(await model.decode((await model.encode(['hi'], false)).ids));
    await model.dispose();
  `);
  expect(ended).toMatchObject({ code: 0, signal: null, stdout: '1\n1\n1\n1\nhi\n' });
});

it('leaves no thread behind when its models are disposed', async () => {
  const { stdout } = await runNode(`
    import { readdirSync, readFileSync } from 'node:fs';
    const ours = () => readdirSync('/proc/self/task').filter((task) => {
      try {
        return readFileSync('/proc/self/task/' + task + '/comm', 'utf8').startsWith('bpeft');
      } catch {
        return false; // ended meanwhile
      }
    }).length;
    const model = await bpeft.loadModel({ model: 'builtin:random', threads: 3 });
    console.log(ours());
    await model.dispose();
    for (let tries = 0; ours() > 0 && tries < 100; tries += 1) await sleep(20);
    console.log(ours());
  `);
  expect(stdout).toBe('4\n0\n');
});
