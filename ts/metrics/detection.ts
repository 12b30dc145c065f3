/**
 * What uncertainty finds: wrong answers among the rows of a task, or rows of another kind among
 * them.
 *
 * ```text
 * positives   rows that are answered wrongly, or rows of another split
 * negatives   rows that are answered rightly, or rows of the task
 * AUROC and FPR95 of each score of `uncertainty-score.ts` (`auroc.ts`, `fpr95.ts`)
 * ```
 *
 * Errors: Hendrycks & Gimpel, arXiv 1610.02136, §3.
 */

import { isCorrect } from './accuracy.ts';
import { auroc } from './auroc.ts';
import { fpr95 } from './fpr95.ts';
import { labelledRows, type Metric } from './metric.ts';
import type { ScoredRow } from './scored-row.ts';
import {
  SCORE_TEXTS,
  UNCERTAINTY_SCORES,
  type UncertaintyScore,
  uncertaintyScores,
} from './uncertainty-score.ts';

const MEASURES = { auroc, fpr95 } as const;
type Measure = keyof typeof MEASURES;

const MEASURE_TEXTS: Readonly<Record<Measure, (positive: string, negative: string) => string>> = {
  auroc: (positive, negative) =>
    `probability that one of the ${positive} has a higher score than one of the ${negative}, ties count half; ` +
    '0.5 is chance',
  fpr95: (positive, negative) =>
    `share of ${negative} flagged where the score flags 95 % of ${positive}, equal scores together`,
};

type ErrorMetricId = `error${Capitalize<Measure>}${Capitalize<UncertaintyScore>}`;

/** Of wrong answers; null where all answers are right, or all wrong. */
export const ERROR_DETECTION: readonly Metric<ErrorMetricId>[] = (
  ['auroc', 'fpr95'] as const
).flatMap((measure) =>
  UNCERTAINTY_SCORES.map((score) => ({
    id: `error${capitalized(measure)}${capitalized(score)}` as const,
    definition: () =>
      `${MEASURE_TEXTS[measure]('wrong answers', 'right answers')}; score: ${SCORE_TEXTS[score]}`,
    compute: (rows) => {
      const labelled = labelledRows(rows);
      const wrong = labelled.filter((row) => !isCorrect(row));
      return measured(measure, labelled.filter(isCorrect), wrong, score);
    },
  })),
);

function capitalized<Name extends string>(name: Name): Capitalize<Name> {
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}` as Capitalize<Name>;
}

/** How far the rows of a split stand out from those of another; of each score, null without it. */
export interface Detection {
  /** Dataset and split whose rows are the negatives. */
  readonly against: { readonly dataset: string; readonly split: string };
  readonly auroc: Readonly<Record<UncertaintyScore, number | null>>;
  readonly fpr95: Readonly<Record<UncertaintyScore, number | null>>;
}

/** @param inside rows of the task; @param outside rows that are to be told from them */
export function detection(
  against: Detection['against'],
  inside: readonly ScoredRow[],
  outside: readonly ScoredRow[],
): Detection {
  const byScore = (measure: Measure) =>
    Object.fromEntries(
      UNCERTAINTY_SCORES.map((score) => [score, measured(measure, inside, outside, score)]),
    ) as Record<UncertaintyScore, number | null>;
  return { against, auroc: byScore('auroc'), fpr95: byScore('fpr95') };
}

function measured(
  measure: Measure,
  negatives: readonly ScoredRow[],
  positives: readonly ScoredRow[],
  score: UncertaintyScore,
): number | null {
  if (negatives.length === 0 || positives.length === 0) return null;
  const [low, high] = [uncertaintyScores(negatives, score), uncertaintyScores(positives, score)];
  return low === null || high === null ? null : MEASURES[measure](low, high);
}
