// npm run test:browser: reports in a real Chromium. Not part of npm test, since it downloads a
// browser (60 MB, from the npm registry, where a package carries it) into .cache/browser.

import { createRequire } from 'node:module';
import { ownPackages } from './own-packages.mjs';
import { bin } from './steps.mjs';

const packages = { '@sparticuz/chromium': '138.0.2', 'puppeteer-core': '24.43.1' };

/** An open browser, to be closed by the caller. */
export async function openBrowser() {
  const require = createRequire(`${ownPackages('browser', packages)}/package.json`);
  const { default: chromium } = await import(require.resolve('@sparticuz/chromium'));
  const { default: puppeteer } = await import(require.resolve('puppeteer-core'));
  return puppeteer.launch({
    args: chromium.args,
    executablePath: await chromium.executablePath(),
    headless: 'shell',
  });
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode =
    ownPackages('browser', packages) !== null && bin('vitest', ['run', '--project', 'browser']).ok
      ? 0
      : 1;
}
