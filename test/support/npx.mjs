// What `npx` is while a document's commands run: the built program, on a model and for a time that
// a test can afford. A model that is not built in stands for builtin:random, and a training run
// without --max-steps makes four updates.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [name, ...args] = process.argv.slice(2);
if (name !== 'bpeft') throw new Error(`only npx bpeft is known here, got npx ${name}`);
const model = args.indexOf('--model') + 1;
if (model > 0 && /\.gguf$/.test(args[model]) && !args[model].startsWith('./'))
  args[model] = 'builtin:random';
if (args[0] === 'train' && !args.includes('--help')) {
  if (!args.includes('--max-seq-len')) args.push('--max-seq-len', '1000'); // its tokens are bytes
  if (!args.includes('--max-steps')) args.push('--max-steps', '4');
  if (!args.includes('--eval-limit')) args.push('--eval-limit', '4');
}
const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const { status } = spawnSync(process.execPath, [program, ...args], { stdio: 'inherit' });
process.exitCode = status ?? 1;
