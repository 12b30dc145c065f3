/** Events as lines for people: plain consoles and `log.txt`. */

import type { RunEvent, RunStarted, StepDone } from '../events/run-event.ts';
import type { Metrics } from '../metrics/report.ts';
import { TEMPERATURES } from '../metrics/temperature.ts';
import { samplesText } from '../report/words.ts';
import type { ScaledResult } from '../run/records/result.ts';
import type { TrainPlan } from '../run/training/plan.ts';

/** The event's lines; none for what is only progress. */
export function eventLines(event: RunEvent): readonly string[] {
  switch (event.type) {
    case 'run-started':
      return startLines(event);
    case 'step':
      return [stepLine(event)];
    case 'look': {
      const { sigma, criterion, change, tolerance, isWithin } = event;
      const verdict = isWithin ? 'within' : 'beyond';
      return [
        `sigma ${number(sigma)}  ${criterion} changes by ${number(change)}, ${verdict} ${tolerance}`,
      ];
    }
    case 'curvature-progress':
    case 'evaluation-progress':
      return [];
    case 'curvature': {
      const { rows, precision, chosenBy, logEvidence, determined } = event;
      return [
        `curvature of ${rows} rows: prior precision ${number(precision)} (${chosenBy}), ln Z ${number(logEvidence)}, ${number(determined)} parameters determined`,
      ];
    }
    case 'evaluation': {
      const { dataset, split, n, metrics, flipRatio, scaled, seconds } = event.result;
      const flips = flipRatio === null ? '' : `  flips ${percent(flipRatio)}`;
      const measured = `${metricsText(metrics)}${flips}`;
      const line = `${dataset} ${split} (${n} rows, ${samplesText(event.result)}): ${measured} (${duration(seconds)})`;
      return scaled === null ? [line] : [line, scaledText(scaled)];
    }
    case 'posterior':
      return [];
    case 'checkpoint':
      return [`checkpoint of step ${event.step} written`];
    case 'warning':
      return [`warning ${event.code}: ${event.message}`];
    case 'interrupted':
      return [`stopped: ${event.message}`];
    case 'failed':
      return [`failed ${event.code}: ${event.message}`];
    case 'finished':
      return [`done in ${duration(event.seconds)}${event.out === null ? '' : `: ${event.out}`}`];
  }
}

function startLines(event: RunStarted): readonly string[] {
  const head = `${event.command} ${event.method} · ${event.model} · ${event.dataset}`;
  const resumed = event.resumedAt === null ? [] : [`resumed after step ${event.resumedAt}`];
  return [head, ...(event.plan === null ? [] : planLines(event.plan)), ...resumed];
}

/** The plan in a few lines; the KL's forecast says whether BLoB will differ from MLE at all. */
export function planLines(plan: TrainPlan): readonly string[] {
  const { tokens, parameters, schedule, blockTypes: types, kl } = plan;
  const lines = [
    `data       ${plan.rows} rows, ${tokens.min}/${tokens.median}/${tokens.max} tokens (min/median/max), ${plan.truncated} cut`,
    `steps      ${plan.steps} updates of ${plan.batchesPerUpdate} batch(es), ${plan.epochs} epochs of ${plan.batchesPerEpoch} batches`,
    `schedule   ${schedule.total} ticks, warm-up ${number(schedule.warmup)}, stride ${schedule.stride}`,
    `parameters ${parameters.trainable.toLocaleString('en-US')} trained, ${parameters.model.toLocaleString('en-US')} frozen`,
  ];
  if (plan.quantize !== 'none') {
    const counts = Object.entries(types).map(([type, count]) => `${type} x ${count}`);
    lines.push(
      `blocks     ${counts.join(', ')} (--quantize ${plan.quantize}, where it fits and saves)`,
    );
  }
  if (plan.noOpShare > 0) {
    lines.push(`note       ${percent(plan.noOpShare)} of the batches train with a rate of 0`);
  }
  if (kl !== null) {
    const weight = kl.uniform
      ? `1/${kl.cycle} at each update`
      : `cycle of ${kl.cycle} updates, ${kl.pulses} pulses`;
    lines.push(`KL         ${weight}, sum of weights ${number(kl.weightSum)}`);
    lines.push(
      `KL alone   sigma ${number(kl.sigmaStart)} -> ${number(kl.sigmaEnd)}, mean x ${number(kl.shrinkEnd)}`,
    );
  }
  return lines;
}

/** `short` leaves out the learning rate, so that it fits beside a bar and the time left. */
export function stepLine(event: StepDone, { short = false }: { short?: boolean } = {}): string {
  const rate = event.ms > 0 ? Math.round((event.tokens / event.ms) * 1000) : 0;
  const kl = event.kl === null ? '' : `  kl ${number(event.kl)}`;
  const lr = short ? '' : `  lr ${number(event.lr)}`;
  return `step ${event.step}/${event.steps}  nll ${event.nll.toFixed(4)}${kl}${lr}  ${rate} tokens/s`;
}

export function metricsText(metrics: Metrics): string {
  const floor = metrics.eceNoiseFloor;
  const note = floor === null ? '' : ` (floor ${floor.toFixed(4)})`;
  const shown: readonly (readonly [string, number | null, string?])[] = [
    ['acc', metrics.acc],
    ['ece', metrics.ece, note],
    ['nll', metrics.nll],
    ['brier', metrics.brier],
    ['entropy', metrics.entropy],
    ['mi', metrics.mutualInformation],
  ];
  return shown
    .flatMap(([name, value, noted = '']) =>
      value === null ? [] : [`${name} ${value.toFixed(4)}${noted}`],
    )
    .join('  ');
}

function scaledText({ temperature, fit, metrics }: ScaledResult): string {
  const origin = fit === null ? 'given' : `fitted on ${fit.n} rows of ${fit.dataset} ${fit.split}`;
  const { least, most } = TEMPERATURES;
  const isEnd = fit !== null && (temperature === least || temperature === most);
  const end = isEnd ? `, which is an end of ${least} to ${most}` : '';
  return `  at temperature ${number(temperature)}, ${origin}${end}: ${metricsText(metrics)}`;
}

/** Four significant digits, without trailing zeros. */
export function number(value: number): string {
  return String(Number(value.toPrecision(4)));
}

function percent(fraction: number): string {
  return `${(fraction * 100).toFixed(1)} %`;
}

/** `4.2 s`, `3 min 5 s`, `2 h 10 min`. */
export function duration(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
