import { type Ended, runNode, workerScript } from './node-process.ts';

/**
 * A process in which `count` worker threads load the library one after another, and the main thread
 * after them.
 */
export function manyWorkers(count: number): Promise<Ended> {
  const using = workerScript(`
    const model = await bpeft.loadModel({ model: 'builtin:random' });
    await model.encode(['hi'], true);
    await model.dispose();
  `);
  return runNode(`
    import { Worker } from 'node:worker_threads';
    for (let index = 0; index < ${count}; index += 1) {
      const worker = new Worker(new URL(${using}));
      await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    }
    const model = await bpeft.loadModel({ model: 'builtin:random' });
    const { ids } = await model.encode(['hi'], false);
    console.log('${count} workers, main: ' + (await model.decode(ids)));
    await model.dispose();
  `);
}
