/** Screenshots for people to look at are left in `.cache/browser/screenshots`. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openBrowser } from '../../tools/browser.mjs';
import { readReport, reportText } from '../../ts/report/write-report.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { writtenRun } from '../support/written-run.ts';

const screenshots = join(import.meta.dirname, '../../.cache/browser/screenshots');
let browser: Awaited<ReturnType<typeof openBrowser>>;

beforeAll(async () => {
  mkdirSync(screenshots, { recursive: true });
  browser = await openBrowser();
});
afterAll(() => browser.close());

interface Look {
  readonly backgroundColor: string;
  readonly color: string;
  readonly pictures: number;
  /** Pictures that take up room. */
  readonly visible: number;
  /** Colour of a bar. */
  readonly bar: string;
  /** Pixels that are wider than the window. */
  readonly overflow: number;
}

/** Runs in the page. */
const LOOK = `(() => {
  const { backgroundColor, color } = getComputedStyle(document.body);
  const boxes = [...document.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect());
  return {
    backgroundColor,
    color,
    pictures: boxes.length,
    visible: boxes.filter(({ width, height }) => width > 100 && height > 80).length,
    bar: getComputedStyle(document.querySelector('svg [fill="var(--series-1)"]')).fill,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
})()`;

interface Seen {
  /** Everything that the page asked for. */
  readonly requests: string[];
  /** Console messages and uncaught errors. */
  readonly complaints: string[];
}

async function opened(scheme: 'light' | 'dark', media: 'screen' | 'print') {
  const folders = [
    writtenRun(),
    writtenRun({ name: 'second', seed: 2 }),
    writtenRun({ method: 'mle' }),
  ];
  const path = join(temporaryFolder(), 'report.html');
  writeFileSync(path, await reportText(await readReport(folders), 'html'));
  const page = await browser.newPage();
  const seen: Seen = { requests: [], complaints: [] };
  page.on('request', (request: { url(): string }) => seen.requests.push(request.url()));
  page.on('console', (message: { text(): string }) => seen.complaints.push(message.text()));
  page.on('pageerror', (error: unknown) => seen.complaints.push(String(error)));
  await page.setViewport({ width: media === 'print' ? 794 : 1280, height: 900 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  if (media === 'print') await page.emulateMediaType('print');
  await page.goto(pathToFileURL(path).href);
  const name = join(screenshots, `report-${media === 'print' ? 'print' : scheme}.png`);
  await page.screenshot({ path: name as `${string}.png`, fullPage: true });
  return { page, path, seen };
}

it.each([
  ['light', 'screen', 'rgb(255, 255, 255)', 'rgb(29, 36, 48)'],
  ['dark', 'screen', 'rgb(20, 24, 31)', 'rgb(230, 233, 239)'],
  ['dark', 'print', 'rgb(255, 255, 255)', 'rgb(29, 36, 48)'],
] as const)(
  'shows in %s on %s without complaint and without a request',
  async (scheme, media, paper, ink) => {
    const { page, path, seen } = await opened(scheme, media);
    expect(seen).toEqual({ requests: [pathToFileURL(path).href], complaints: [] });
    const look: Look = await page.evaluate(LOOK);
    expect(look).toMatchObject({ backgroundColor: paper, color: ink, overflow: 0 });
    expect([look.pictures, look.visible]).toEqual([3 * 6 + 1, 3 * 6 + 1]);
    // The pictures take the page's colours: not black, the colour of a variable that is unknown.
    expect(look.bar).toMatch(/^rgb\(/);
    expect(look.bar).not.toBe('rgb(0, 0, 0)');
    await page.close();
  },
);

it('fits a narrow screen', async () => {
  const { page } = await opened('light', 'screen');
  await page.setViewport({ width: 390, height: 800 });
  const overflow: number = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
  expect(overflow).toBeLessThanOrEqual(0);
  await page.close();
});
