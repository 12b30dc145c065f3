import { expect, it } from 'vitest';
import { runNode, sharedLibrary } from '../../support/node-process.ts';

/** A system that grants the engine `GRANTED` threads, and more once the file `AMPLE` is there. */
const STINGY = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *with) {
  static atomic_int count;
  Dl_info caller;
  int is_ours = dladdr(__builtin_return_address(0), &caller) && strstr(caller.dli_fname, "bpeft.linux");
  if (is_ours && access(getenv("AMPLE"), F_OK) && atomic_fetch_add(&count, 1) >= atoi(getenv("GRANTED")))
    return EAGAIN;
  return ((create *)dlsym(RTLD_NEXT, "pthread_create"))(thread, how, start, with);
}`;

it.each([
  // The model's own thread comes first.
  {
    granted: 0,
    message: /^1 threads were asked for, the system granted 0: /,
    hint: /^raise the limit/,
  },
  {
    granted: 1,
    message: /^4 threads were asked for, the system granted 0: /,
    hint: /^raise the limit/,
  },
  {
    granted: 3,
    message: /^4 threads were asked for, the system granted 2: /,
    hint: /^give threads 2 or/,
  },
])('says how many threads it got where the system refuses more: $granted', async (expected) => {
  const library = sharedLibrary(STINGY);
  const ended = await runNode(
    `
    import { writeFileSync } from 'node:fs';
    const options = { model: 'builtin:random', threads: 4 };
    const { code, message, hint } = await bpeft.loadModel(options).catch((error) => error);
    console.log(JSON.stringify({ code, message, hint }));
    writeFileSync(process.env.AMPLE, '');
    const model = await bpeft.loadModel(options);
    console.log(await model.decode((await model.encode(['hi'], false)).ids));
    await model.dispose();
  `,
    { env: { LD_PRELOAD: library, GRANTED: String(expected.granted), AMPLE: `${library}.ample` } },
  );
  expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
  const [refusal = '', later] = ended.stdout.split('\n');
  expect(JSON.parse(refusal)).toEqual({
    code: 'BPEFT_THREADS',
    message: expect.stringMatching(expected.message),
    hint: expect.stringMatching(expected.hint),
  });
  expect(later).toBe('hi');
});

it('gives each model a pool of its own size, and ends it with the model', async () => {
  const { stdout, stderr } = await runNode(`
    import { readdirSync, readFileSync } from 'node:fs';
    import { availableParallelism } from 'node:os';
    const name = (task) => {
      try {
        return readFileSync('/proc/self/task/' + task + '/comm', 'utf8');
      } catch {
        return ''; // it ended meanwhile
      }
    };
    const running = () => readdirSync('/proc/self/task').filter((task) => /^bpeft-\\d/.test(name(task))).length;
    const load = (threads) => bpeft.loadModel({ model: 'builtin:random', threads });
    const three = await load(3);
    const two = await load(2);
    console.log(three.info.threads, two.info.threads, running());
    await three.dispose();
    console.log(running());
    await two.dispose();
    console.log(running());
    const every = await load(undefined);
    console.log(every.info.threads === availableParallelism());
    await every.dispose();
  `);
  expect(stderr).toBe('');
  expect(stdout.trim().split('\n')).toEqual(['3 2 5', '2', '0', 'true']);
});
