// npm run test:browser: reports in a real Chromium. Not part of npm test, since it downloads a
// browser (60 MB, from the npm registry, where a package carries it) into .cache/browser.

import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { bin, readText, root, run } from './steps.mjs';

const folder = `${root}.cache/browser`;
const dependencies = { '@sparticuz/chromium': '138.0.2', 'puppeteer-core': '24.43.1' };
const wanted = `${JSON.stringify({ private: true, dependencies }, null, 2)}\n`;

/** Installs what is missing or out of date. */
function prepared() {
  const stamp = `${folder}/installed.json`;
  if (readText(stamp) === wanted) return true;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/package.json`, wanted);
  if (!run('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--no-package-lock']).ok)
    return false;
  writeFileSync(stamp, wanted);
  return true;
}

/** An open browser, to be closed by the caller. */
export async function openBrowser() {
  const require = createRequire(`${folder}/package.json`);
  const { default: chromium } = await import(require.resolve('@sparticuz/chromium'));
  const { default: puppeteer } = await import(require.resolve('puppeteer-core'));
  return puppeteer.launch({
    args: chromium.args,
    executablePath: await chromium.executablePath(),
    headless: 'shell',
  });
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = prepared() && bin('vitest', ['run', '--project', 'browser']).ok ? 0 : 1;
}
