// node tools/cuda-emulator/addon.mjs [--json]: the engine with `cuda` as an addon, the emulated
// driver and its kernels; prints the variables with which Node runs them.

import { join } from 'node:path';
import { addonTypes, buildNative, readText, root } from '../steps.mjs';
import { buildForEngine } from './build.mjs';

const folder = join(root, '.cache/cuda/addon');
const types = join(folder, 'addon.d.ts');
const addon = buildNative({ features: ['cuda'], output: folder, types });
if (addon === null) process.exit(1);
if (readText(types) !== readText(addonTypes)) {
  process.stderr.write('the addon with cuda has other types than ts/engine/addon.d.ts\n');
  process.exit(1);
}
const variables = { ...(await buildForEngine()), BPEFT_NATIVE_PATH: addon };
const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
const isJson = process.argv.includes('--json');
process.stdout.write(isJson ? `${JSON.stringify(variables)}\n` : lines.join(''));
