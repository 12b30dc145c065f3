// npm run pack:platform: bpeft and the engine of this platform, as `npm run setup` built it,
// packed, installed in an empty folder and tried there.

import { join } from 'node:path';
import { doctor, installed, packed, summary } from './packing.mjs';
import { platform, root } from './steps.mjs';

const folders = [root, join(root, 'npm', platform)];
const tarballs = packed(folders, join(root, '.cache/packages'));
const works =
  tarballs !== null &&
  (await installed(tarballs, [], (user) => {
    const found = doctor(user);
    if (found === null) return false;
    process.stdout.write(summary(found));
    const isOwn = found.engine.why === `of the package @bpeft/${platform}`;
    return isOwn && found.self_tests.every(({ passed }) => passed);
  }));
if (works !== true) {
  process.stderr.write('the package does not work: see above\n');
  process.exitCode = 1;
}
