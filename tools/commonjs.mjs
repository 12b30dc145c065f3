// The CommonJS entries: beside each door's index.js an index.cjs hands out the very objects of the
// ES module, an index.d.cts their types. Why types need a file of their own:
// docs/adr/0008-one-module-two-entries.md.

import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { root } from './steps.mjs';

const MODULE = './index.js';
const AS_MODULE = `{ with: { 'resolution-mode': 'import' } }`;
const isClass = (value) => typeof value === 'function' && /^class\b/.test(String(value));

for (const folder of [`${root}dist/`, `${root}dist/engine/`]) {
  const values = Object.entries(await import(pathToFileURL(`${folder}index.js`).href));
  const types = values.flatMap(([name, value]) => {
    const source = `import('${MODULE}', ${AS_MODULE})`;
    const instance = isClass(value) ? [`export type ${name} = ${source}.${name};`] : [];
    return [`export declare const ${name}: typeof ${source}.${name};`, ...instance];
  });
  writeFileSync(`${folder}index.cjs`, `'use strict';\nmodule.exports = require('${MODULE}');\n`);
  writeFileSync(
    `${folder}index.d.cts`,
    `export type * from '${MODULE}' with { 'resolution-mode': 'import' };\n${types.join('\n')}\n`,
  );
}
