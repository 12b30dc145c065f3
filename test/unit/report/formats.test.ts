import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import { expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { runCli } from '../../../ts/cli/program.ts';
import { readReport, reportText, writeCard } from '../../../ts/report/write-report.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { writtenRun } from '../../support/written-run.ts';

async function cli(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const said = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      said[name] += text;
    },
  });
  const code = await runCli(words, { stdout: stream('stdout'), stderr: stream('stderr') });
  return { code, ...said };
}

it('is one HTML page that asks for nothing and runs nothing', async () => {
  const name = '<script>alert("x")</script>';
  const report = await readReport([
    writtenRun({ settings: { wording: name } }),
    writtenRun({ method: 'mle' }),
  ]);
  const [first, second] = report.runs;
  if (first === undefined || second === undefined) throw new Error('two runs');
  const page = await reportText({ ...report, runs: [{ ...first, name }, second] }, 'html');
  expect(page).not.toContain('<script');
  expect(page).toContain('&lt;script&gt;');
  expect(page).not.toMatch(/(src|href)=|url\((?!#)|@import/);
  expect(page.match(/<svg /g)?.length).toBe(2 * 6 + 1);
  for (const text of [
    'Methods by datasets',
    'Learning curves',
    'Further measures',
    'Definitions',
    '0.750',
    '--method mle',
  ]) {
    expect(page).toContain(text);
  }
});

it('gives pictures the colours of the page, so that they follow light and dark', async () => {
  const page = await reportText(await readReport([writtenRun()]), 'html');
  const all = page.slice(page.indexOf('<svg'), page.lastIndexOf('</svg>'));
  const pictures = all.replace(/<clipPath.*?<\/clipPath>/gs, ''); // shapes that are not seen
  expect(pictures).toContain('var(--series-1)');
  expect(pictures.match(/(fill|stroke)="#[0-9a-f]+"/g) ?? []).toEqual([]);
});

it('writes a line for each run, evaluation and metric as CSV', async () => {
  const { stdout, code } = await cli('report', writtenRun({ name: 'a, "b"' }), '--format', 'csv');
  const rows = parse(stdout, { columns: true }) as Record<string, string>[];
  const measures = rows.map(({ metric }) => metric);
  expect([code, new Set(measures).size]).toEqual([0, rows.length]);
  expect(measures.slice(0, 6)).toEqual(['acc', 'ece', 'nll', 'brier', 'aurc', 'mcc']);
  expect(measures.slice(-6)).toContain('auroc_entropy against ARC-Easy train');
  expect(rows[0]).toMatchObject({
    run: 'a, "b"',
    metric: 'acc',
    value: '0.75',
    seed: '1',
    rows: '40',
  });
});

it('writes a table as Markdown, and JSON that --json gives too', async () => {
  const folder = writtenRun();
  const markdown = await cli('report', folder, '--format', 'md');
  expect(markdown.stdout).toMatch(
    /\| first \| blob \| ARC-Easy validation, 10 samples \| 40 \| 0\.750 \(0\.\d+–0\.\d+\) \|/,
  );
  expect(markdown.stdout).toContain('| auroc_max_probability against ARC-Easy train | 0.625 |');
  expect(markdown.stdout).toMatch(/\| ece_noise_floor \| 0\.\d{3} \|/);
  const [byFormat, byJson] = [
    await cli('report', folder, '--format', 'json'),
    await cli('report', folder, '--json'),
  ];
  expect(byJson.stdout).toBe(byFormat.stdout);
  expect(JSON.parse(byJson.stdout).runs[0].name).toBe('first');
});

it('compares methods as Markdown, with published numbers and their sources', async () => {
  const model = 'Llama-2-7b-hf';
  const runs = [
    writtenRun({ model }),
    writtenRun({ model, seed: 2 }),
    writtenRun({ model, method: 'mle' }),
  ];
  const { stdout } = await cli('report', ...runs, '--format', 'md');
  expect(stdout).toContain(
    '| blob, 10 samples · Llama-2-7b-hf | 0.750 ± 0.000 (2 seeds); published 0.709 [1] |',
  );
  expect(stdout).toMatch(/- \[1\] published: StePS paper/);
});

it('writes a file, and over one that is there only with --overwrite', async () => {
  const [folder, out] = [writtenRun(), join(temporaryFolder(), 'report.html')];
  expect(await cli('report', folder, '--out', out)).toMatchObject({
    code: 0,
    stderr: `written: ${out}\n`,
  });
  expect(await cli('report', folder, '--out', out)).toMatchObject({ code: 2 });
  expect(await cli('report', folder, '--out', out, '--overwrite', '--quiet')).toMatchObject({
    code: 0,
    stderr: '',
  });
  expect(readFileSync(out, 'utf8')).toContain('<!doctype html>');
});

it('refuses a format that it does not know', async () => {
  const { code, stderr } = await cli('report', writtenRun(), '--format', 'pdf');
  expect(code).toBe(2);
  expect(stderr).toContain('--format must be one of html, md, json, csv, got pdf');
});

it("writes a calibration card beside the adapter, and never over somebody else's", async () => {
  const folder = writtenRun();
  const card = join(folder, 'adapter', 'README.md');
  expect(await cli('report', folder, '--card')).toMatchObject({
    code: 0,
    stderr: `written: ${card}\n`,
  });
  const text = readFileSync(card, 'utf8');
  expect(parseYaml(text.split('---')[1] ?? '')).toMatchObject({
    base_model: 'builtin:tiny',
    library_name: 'peft',
  });
  for (const part of [
    '## Intended use',
    '0.750 (',
    '## Reliability on',
    '## Definitions',
    'bpeft train',
  ]) {
    expect(text).toContain(part);
  }
  await expect(writeCard([folder], { overwrite: false })).resolves.toBe(card);
  writeFileSync(card, '# mine\n');
  await expect(writeCard([folder], { overwrite: false })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
  });
  expect(readFileSync(card, 'utf8')).toBe('# mine\n');
  expect(existsSync(join(folder, 'report.html'))).toBe(false);
});

it('asks for one run with an adapter to write a card', async () => {
  const { code, stderr } = await cli('report', writtenRun(), writtenRun(), '--card');
  expect(code).toBe(2);
  expect(stderr).toContain('a card needs one run with an adapter, got 2');
});
