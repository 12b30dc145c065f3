// npm run build [native|js]

import { buildJavaScript, buildNative } from './steps.mjs';

const part = process.argv[2];
const ok = (part === 'js' || buildNative() !== null) && (part === 'native' || buildJavaScript());
process.exitCode = ok ? 0 : 1;
