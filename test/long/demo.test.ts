import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

it('shows in the demo what a Bayesian adapter buys', async () => {
  const folder = temporaryFolder();
  const { code, stdout, stderr } = await new BpeftProcess(['demo'], { cwd: folder }).finished;
  expect(code, stderr).toBe(0);
  for (const text of [
    'test (1000 rows)',
    'shift (360 rows)',
    'ood (400 rows)',
    'MLE',
    'BLoB N = 10',
    'What other methods give with this schedule',
  ]) {
    expect(stdout).toContain(text);
  }
  expect(stdout).toMatch(/BLoB N = 10 minus MLE on test: NLL [−+]\d\.\d{3} \(/);
  for (const method of ['mle', 'blob']) {
    const adapter = join(folder, 'runs/demo', method, 'adapter/adapter_model.safetensors');
    expect(existsSync(adapter)).toBe(true);
  }
});
