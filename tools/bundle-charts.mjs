// Puts the used part of echarts into dist/report/page/chart.js (0.6 MB of 68 MB), so that who
// installs the package need not install all of it. Its licences lie beside.

import { readFileSync, writeFileSync } from 'node:fs';
import { rolldown } from 'rolldown';
import { root } from './steps.mjs';

const folder = `${root}dist/report/page`;
const bundle = await rolldown({
  input: `${folder}/chart.js`,
  platform: 'node',
  external: (id, importer) => importer === `${folder}/chart.js` && id.startsWith('.'),
});
await bundle.write({
  file: `${folder}/chart.js`,
  format: 'esm',
  minify: true,
  comments: { legal: true },
});
await bundle.close();
const licences = ['echarts/LICENSE', 'echarts/NOTICE', 'zrender/LICENSE', 'tslib/LICENSE.txt'];
const texts = licences.map(
  (name) => `${name}\n\n${readFileSync(`${root}node_modules/${name}`, 'utf8')}`,
);
writeFileSync(`${folder}/chart.LICENSES.txt`, texts.join('\n\n'));
