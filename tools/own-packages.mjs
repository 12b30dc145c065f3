// Tools that cannot stand beside the checkout's own packages have an installation of their own in
// .cache, made on first use and anew when its list changes.

import { mkdirSync, writeFileSync } from 'node:fs';
import { readText, root, run } from './steps.mjs';

/**
 * @param dependencies name → exact version
 * @returns {string | null} the folder of the installation; null when it cannot be made, which npm
 * has said
 */
export function ownPackages(name, dependencies, { flags = [] } = {}) {
  const folder = `${root}.cache/${name}`;
  const wanted = `${JSON.stringify({ private: true, dependencies }, null, 2)}\n`;
  const stamp = `${folder}/installed.json`;
  if (readText(stamp) === wanted) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/package.json`, wanted);
  const install = [
    'install',
    '--prefix',
    folder,
    '--no-audit',
    '--no-fund',
    '--no-package-lock',
    ...flags,
  ];
  if (!run('npm', install).ok) return null;
  writeFileSync(stamp, wanted);
  return folder;
}
