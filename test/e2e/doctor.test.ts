import { expect, it } from 'vitest';
import { BpeftProcess, bpeft } from '../support/bpeft-process.ts';

it('examines a machine without a GPU, for people and for programs', async () => {
  const { code, stdout } = await bpeft('doctor');
  expect(code).toBe(0);
  for (const line of [
    /^bpeft {6}\d+\.\d+\.\d+, engine \d+\.\d+\.\d+, Node /m,
    /^engine {5}.*\.node$/m,
    /the checkout's own; .*, CPU alone$/m,
    /^CPU {8}.*, \d+ processors, \d+ threads a model$/m,
    /^device {5}auto is cpu$/m,
    /^self-test {2}cpu computes what it should \(/m,
  ]) {
    expect(stdout).toMatch(line);
  }
  const found = JSON.parse((await bpeft('doctor', '--json')).stdout);
  expect(found).toMatchObject({ format: 1, device: 'cpu', gpu: null, engine: { cuda: false } });
  expect(found.cpu.dispatches).toContain(found.cpu.dispatch);
  expect(found.self_tests).toMatchObject([{ device: 'cpu', passed: true, message: null }]);
});

it('computes the same in plain Rust', async () => {
  const environment = { BPEFT_DISPATCH: 'portable' };
  const { code, stdout } = await new BpeftProcess(['doctor', '--json'], { environment }).finished;
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    cpu: { dispatch: 'portable' },
    self_tests: [{ passed: true }],
  });
});

it('tells a wrong BPEFT_DEVICE before anything else', async () => {
  const environment = { BPEFT_DEVICE: 'tpu' };
  const { code, stderr } = await new BpeftProcess(['doctor'], { environment }).finished;
  expect([code, stderr]).toEqual([
    2,
    expect.stringContaining('BPEFT_DEVICE must be auto, cpu or cuda[:N]'),
  ]);
});

it('says that the device which BPEFT_DEVICE names cannot be used', async () => {
  const environment = { BPEFT_DEVICE: 'cuda' };
  const { stdout } = await new BpeftProcess(['doctor'], { environment }).finished;
  expect(stdout).toMatch(/^device {5}auto is cuda:0, which cannot be used here$/m);
});
