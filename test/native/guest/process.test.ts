import { cpSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { runNode, sharedLibrary } from '../../support/node-process.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const root = join(import.meta.dirname, '../../..');

/** The package as npm would install it, in a folder of its own. */
function installedCopy(): string {
  const folder = temporaryFolder();
  for (const part of ['dist', 'npm', 'assets', 'package.json']) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return pathToFileURL(join(folder, 'dist/index.js')).href;
}

it('works beside a second installed copy', async () => {
  const copies = JSON.stringify([installedCopy(), installedCopy()]);
  const ended = await runNode(`
    const copies = await Promise.all(${copies}.map((path) => import(path)));
    const models = await Promise.all(copies.map(({ loadModel }) => loadModel({ model: 'builtin:tiny' })));
    const adapters = await Promise.all(models.map((model) => model.createAdapter(shape)));
    const all = await Promise.all(adapters.flatMap((adapter) => [1, 2].map(() => adapter.predict(batchOf(4, 50), plain))));
    console.log(all.length, all.every((logits) => String(logits) === String(all[0])));
    for (const model of models) await model.dispose();
  `);
  expect(ended).toMatchObject({ code: 0, signal: null, stdout: '4 true\n' });
});

it.each([0, 3, 10, 40, 150])(
  'ends with the host’s exit code, %d ms into a training',
  async (ms) => {
    const ended = await runNode(`
    const model = await bpeft.loadModel({ model: 'builtin:random' });
    setTimeout(() => process.exit(7), ${ms});
    await trainForever(model);
  `);
    expect(ended).toMatchObject({ code: 7, signal: null, stderr: '' });
  },
);

it('trains on while the host forks processes that use it too', async () => {
  const ended = await runNode(
    `
    import { fork } from 'node:child_process';
    import { writeFileSync } from 'node:fs';
    const model = await bpeft.loadModel({ model: 'builtin:random' });
    const adapter = await model.createAdapter(shape);
    const training = trainForever(model).catch(({ code }) => code);
    const script = process.argv[1];
    writeFileSync(script, "import('" + dist + "index.js').then(async ({ loadModel }) => {" +
      "const model = await loadModel({ model: 'builtin:random' }); await model.dispose(); process.disconnect(); })");
    const exits = await Promise.all([1, 2, 3].map(() => new Promise((resolve) => {
      fork(script, { execArgv: [] }).once('exit', resolve);
    })));
    console.log(String(exits), (await adapter.predict(batchOf(1, 10), plain)).length);
    await model.dispose();
    console.log(await training);
  `,
    { args: [join(temporaryFolder(), 'child.mjs')] },
  );
  expect(ended).toMatchObject({ code: 0, signal: null, stdout: '0,0,0 2\nBPEFT_WORKER_STOPPED\n' });
});

/**
 * glibc keeps about 1.6 kB of static TLS for libraries that come later; addons of others use it up.
 */
it('loads where other addons have used up the static TLS', async () => {
  const greedy = sharedLibrary(
    `__thread char block[64] __attribute__((tls_model("initial-exec")));
     void *napi_register_module_v1(void *env, void *exports) { block[0] = 1; return exports; }`,
  );
  const ended = await runNode(
    `
    import { cpSync } from 'node:fs';
    let count = 0;
    for (;; count += 1) {
      const copy = process.argv[1] + '.' + count + '.node';
      cpSync(process.argv[1], copy);
      try {
        process.dlopen({ exports: {} }, copy);
      } catch (error) {
        console.log(/static TLS/.test(error.message), count > 0);
        break;
      }
    }
    const model = await bpeft.loadModel({ model: 'builtin:random' });
    await model.dispose();
  `,
    { args: [greedy] },
  );
  expect(ended).toMatchObject({ code: 0, signal: null, stdout: 'true true\n', stderr: '' });
});
