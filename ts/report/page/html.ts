/**
 * A report as one HTML file that needs nothing else: styles and pictures are inside, there is no
 * script, and its content policy forbids every request.
 */

import type { RiskPoint } from '../../metrics/risk-coverage.ts';
import { furtherMeasures } from '../further-measures.ts';
import { methodTables } from '../method-tables.ts';
import type { LoggedPosterior } from '../reported-run.ts';
import { REPORTED_METRICS, type Report, type RunReport } from '../run-report.ts';
import {
  estimateText,
  evaluationName,
  INTERVAL_NOTE,
  METRIC_HEADINGS,
  SEEDS_NOTE,
  samplesText,
  temperatureText,
  valueText,
} from '../words.ts';
import {
  confidenceHistogram,
  layerChart,
  learningChart,
  reliabilityChart,
  riskCoverageChart,
  smoothed,
  stroke,
} from './chart.ts';
import { escaped } from './escape.ts';
import { STYLE } from './style.ts';

export function htmlReport(report: Report): string {
  const title =
    report.runs.length === 1 ? `Run ${report.runs[0]?.name ?? ''}` : `${report.runs.length} runs`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)} · bpeft</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
${notes(report.runs)}
${summary(report.runs)}
${comparison(report)}
${report.runs.map(runSection).join('\n')}
${definitions(report.runs)}
</main>
</body>
</html>
`;
}

function notes(runs: readonly RunReport[]): string {
  const lines = runs.flatMap(({ name, notes: own }) =>
    own.map((note) => `<li><b>${escaped(name)}</b>: ${escaped(note)}</li>`),
  );
  return lines.length === 0 ? '' : `<aside class="notes"><ul>${lines.join('')}</ul></aside>`;
}

function summary(runs: readonly RunReport[]): string {
  const rows = runs.flatMap((run) =>
    run.evaluations.map((evaluation) => [
      ...[run.name, run.method, evaluationName(evaluation), String(evaluation.n || '–')],
      ...REPORTED_METRICS.map((metric) => estimateText(evaluation.metrics[metric])),
      valueText(evaluation.aurc),
      valueText(evaluation.entropy),
      valueText(evaluation.mutual_information),
    ]),
  );
  if (rows.length === 0) return '<p>No evaluation has been recorded yet.</p>';
  const headings = [
    'run',
    'method',
    'evaluation',
    'rows',
    ...REPORTED_METRICS.map((m) => METRIC_HEADINGS[m]),
  ];
  return `<section><h2>Summary</h2>
${table([...headings, 'AURC ↓', 'entropy', 'MI'], rows, 3)}
<p class="note">${INTERVAL_NOTE} Entropy and mutual information (MI) in nats.</p></section>`;
}

function comparison({ comparison: cells, runs }: Report): string {
  const compared = methodTables(cells);
  if (compared === null) return '';
  const tables = compared.tables.map(
    ({ title, headings, rows }) => `<h3>${title}</h3>${table(headings, rows, 1)}`,
  );
  const cited = compared.sources.map(
    (source, index) => `<p class="note">[${index + 1}] Published: ${escaped(source)}.</p>`,
  );
  return `<section><h2>Methods by datasets</h2>${tables.join('\n')}${cited.join('')}
<p class="note">${SEEDS_NOTE}</p>
${risks(runs)}</section>`;
}

/** What abstaining buys, all runs in one picture for each split. */
function risks(runs: readonly RunReport[]): string {
  const splits = new Map<string, { name: string; points: readonly RiskPoint[] }[]>();
  for (const run of runs) {
    for (const evaluation of run.evaluations) {
      if (evaluation.risk_coverage === null) continue;
      const split = `${evaluation.dataset} ${evaluation.split}`;
      const passes = `${samplesText(evaluation)}${temperatureText(evaluation.temperature)}`;
      const name = `${run.name}, ${passes}`;
      splits.set(split, [...(splits.get(split) ?? []), { name, points: evaluation.risk_coverage }]);
    }
  }
  const figures = [...splits].map(([split, curves]) => {
    const title = `Risk by coverage, ${split}`;
    return figure(title, riskCoverageChart(title, curves), curves);
  });
  return `<div class="charts">${figures.join('')}</div>`;
}

function runSection(run: RunReport): string {
  const facts: [string, string][] = [
    ['method', run.method],
    ['model', run.model],
    ['dataset', run.dataset],
    ['protocol', run.protocol],
    ['seed', String(run.seed ?? '–')],
  ];
  const { training } = run;
  if (training !== null) {
    facts.push(['steps', String(training.steps)]);
    facts.push([
      'training',
      `${training.seconds.toFixed(0)} s, ${training.tokens_per_s.toFixed(0)} tokens/s`,
    ]);
    facts.push(['memory', `${training.peak_rss_mb} MB at most`]);
  }
  const made = [...Object.entries(run.versions), ...Object.entries(run.hardware)];
  const versions = made.map(([name, value]) => `${name} ${String(value ?? '–')}`).join(' · ');
  return `<section class="run"><h2>${escaped(run.name)}</h2>
<dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>
${learning(run)}
${run.evaluations.map(evaluationCharts).join('\n')}
${further(run)}
<h3>To make it again</h3>
<pre>${escaped(run.command)}</pre>
<p class="note">${escaped(versions)}</p>
</section>`;
}

function learning({ steps, posterior }: RunReport): string {
  if (steps.length < 2) return '';
  const curve = (name: string, value: (step: (typeof steps)[number]) => number | null) => {
    const points = steps.flatMap((step) => {
      const y = value(step);
      return y === null || !Number.isFinite(y) ? [] : [[step.step, y] as const];
    });
    return points.length === 0 ? [] : [{ name, points: smoothed(points) }];
  };
  const charts = [
    ['Training loss', 'NLL, nats', curve('NLL', ({ nll }) => nll)],
    ['Divergence from the prior', 'KL, nats', curve('KL', ({ kl }) => kl)],
    ['Width of the posterior', 'mean σ', curve('σ', ({ sigma_mean: sigma }) => sigma)],
  ] as const;
  const shown = charts.filter(([, , curves]) => curves.length > 0);
  const figures = shown.map(([title, unit, curves]) =>
    figure(title, learningChart(title, unit, curves)),
  );
  if (posterior !== null) figures.push(layers(posterior));
  return `<h3>Learning curves</h3><div class="charts">${figures.join('')}</div>`;
}

function layers({ step, fractions, sigma }: LoggedPosterior): string {
  const all = Object.values(sigma);
  const title = `σ of the layers after step ${step}`;
  const curves = fractions.map((fraction, index) => ({
    name: `${Math.round(100 * fraction)} %`,
    points: all.map((values, layer) => [layer + 1, values[index] ?? Number.NaN] as const),
  }));
  return figure(title, layerChart(title, 'quantiles of σ', curves), curves);
}

function evaluationCharts(evaluation: RunReport['evaluations'][number]): string {
  const { reliability, risk_coverage: curve } = evaluation;
  const name = evaluationName(evaluation);
  if (reliability === null || curve === null) return '';
  return `<h3>${escaped(name)}</h3><div class="charts">
${figure('Reliability', reliabilityChart(`Reliability of ${name}`, reliability))}
${figure('Confidence', confidenceHistogram(`Confidence of ${name}`, reliability))}
${figure('Risk by coverage', riskCoverageChart(`Risk by coverage of ${name}`, [{ name, points: curve }]))}
</div>`;
}

function further({ evaluations }: RunReport): string {
  const measures = furtherMeasures(evaluations);
  if (measures === null) return '';
  return `<h3>Further measures</h3>${table(measures.headings, measures.rows, 1)}`;
}

function definitions(runs: readonly RunReport[]): string {
  const known = new Map<string, string>();
  for (const { evaluations } of runs)
    for (const { definitions: own } of evaluations)
      for (const [name, text] of Object.entries(own)) known.set(name, text);
  const items = [...known].map(
    ([name, text]) => `<dt>${escaped(name)}</dt><dd>${escaped(text)}</dd>`,
  );
  if (items.length === 0) return '';
  return `<section><h2>Definitions</h2><dl class="definitions">${items.join('')}</dl>
<p class="note">In a reliability diagram a blue bar reaches to the lower of accuracy and confidence; the red gap above it is
overconfidence, a green one underconfidence.</p></section>`;
}

/** `curves` are named below the picture, where there are several. */
function figure(
  caption: string,
  picture: string,
  curves: readonly { readonly name: string }[] = [],
): string {
  const names = curves.map(({ name }, index) => {
    const { colour, dash } = stroke(index);
    return `<li><i style="border-top: 2px ${dash} ${colour}"></i>${escaped(name)}</li>`;
  });
  const legend = names.length < 2 ? '' : `<ul class="legend">${names.join('')}</ul>`;
  return `<figure>${picture}${legend}<figcaption>${escaped(caption)}</figcaption></figure>`;
}

/**
 * `texts`: how many of the first columns hold no numbers; the bounds of an interval get a line of
 * their own.
 */
function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  texts: number,
): string {
  const cell = (tag: 'th' | 'td') => (text: string, index: number) => {
    if (index < texts) return `<${tag}>${escaped(text)}</${tag}>`;
    const shown = escaped(text).replace(
      /;? (\(.*?\)|published .*?)(?=;|$)/g,
      ' <span class="bounds">$1</span>',
    );
    return `<${tag} class="number">${shown}</${tag}>`;
  };
  const body = rows.map((row) => `<tr>${row.map(cell('td')).join('')}</tr>`).join('\n');
  return `<div class="wide"><table${texts === 1 ? ' class="short"' : ''}><thead><tr>${headings.map(cell('th')).join('')}</tr></thead>
<tbody>${body}</tbody></table></div>`;
}
