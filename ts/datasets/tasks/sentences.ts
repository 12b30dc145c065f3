/**
 * Classification of a sentence or of two, with classes that the dataset fixes: GLUE and SuperGLUE.
 *
 * Rows hold the texts and `label`, the index of a class or its name (−1: no label). Prompts:
 *
 * ```text
 * corrected                                           reference
 *
 * {what is asked}                                     {the reference's instruction, its slips included}
 *
 * Sentence 1: …                                       Sentence 1: …
 * Sentence 2: …                                       Sentence 2: …
 * Labels:                                             Answer:
 * A) {first class}
 * B) {second class}
 * Answer:
 * ```
 *
 * The reference scores the digits `0`, `1`, …; where it has no instruction, both protocols write
 * the corrected prompt.
 */

import { z } from 'zod';
import { CUE, cuttable, fixed, letteredLines } from '../prompts/prompt-parts.ts';
import type { PromptPart, PromptPlan } from '../prompts/prompt-plan.ts';
import type { TextPair } from '../prompts/text-pair.ts';
import { className, isWholeNumber } from '../rows/class-names.ts';
import { datasetError, type RowPlace, rowError } from '../rows/dataset-error.ts';
import { cellText, filledText } from '../rows/fields.ts';
import { type Item, letters, type TaskFamily } from '../rows/item.ts';
import type { DatasetEntry } from './entry.ts';
import type { Task } from './task.ts';

export interface SentenceSet {
  readonly family: TaskFamily;
  readonly title: string;
  readonly source: string;
  readonly licence: string;
  /** Fields of a row with what the prompt calls them, in its order. */
  readonly texts: readonly (readonly [field: string, heading: string])[];
  /** Fields that an encoder reads, where they are not all of these in this order. */
  readonly pair?: readonly [first: string, second: string];
  /** In the order of the file's integers. */
  readonly classes: readonly string[];
  /** What is asked, for the corrected prompt. */
  readonly question: string;
  /** The reference's line; null where it has none. */
  readonly instruction: string | null;
  /** The field of the answer; `label` unless given. */
  readonly answer?: 'answer' | 'label';
  /** Rows as published; the first is trained on, the second evaluated. */
  readonly sizes: Readonly<Record<string, number>>;
}

export function sentenceTask(set: SentenceSet): Task {
  const { classes, family } = set;
  const parse = rowParser(set);
  return {
    family,
    kind: 'classification',
    answerFields: [set.answer ?? 'label'],
    classCount: classes.length,
    labelNames: classes,
    item: parse,
    plan: (item, _, template) =>
      template === 'reference' && set.instruction !== null
        ? referencePlan(set, set.instruction, item)
        : correctedPlan(set, item),
    pair: (item) => pairOf(set, item),
    names: ({ choices }) => choices,
  };
}

function pairOf({ texts, pair }: SentenceSet, item: Item): TextPair {
  const names = texts.map(([field]) => field);
  const textOf = (field: string) => item.texts[names.indexOf(field)] ?? '';
  const [first = '', second] = pair ?? names;
  return { first: textOf(first), second: second === undefined ? null : textOf(second) };
}

export function sentenceEntry(set: SentenceSet): DatasetEntry {
  const { family, title, source, licence, sizes } = set;
  const [trainSplit = 'train', defaultSplit = 'validation'] = Object.keys(sizes);
  const splits = Object.keys(sizes).map((split) => [split, [`${family}/${split}.jsonl`]] as const);
  return {
    ...{ name: family, title, source, licence, family, sizes, trainSplit, defaultSplit },
    splits: Object.fromEntries(splits),
  };
}

function rowParser(set: SentenceSet): (raw: unknown, row: number, place: RowPlace) => Item {
  const fields = set.texts.map(([field]) => [field, filledText] as const);
  const answer: string = set.answer ?? 'label';
  const Row = z.looseObject(
    {
      ...Object.fromEntries(fields),
      id: cellText.optional(),
      [answer]: z
        .union([z.number(), z.string(), z.boolean()], 'must be a class or its index')
        .nullish(),
    },
    'must be an object',
  );
  return (raw, row, place) => {
    const parsed = Row.safeParse(raw);
    if (!parsed.success) throw rowError(place, parsed.error, raw);
    const { id, [answer]: label, ...rest } = parsed.data as Record<string, unknown>;
    const names = set.texts.map(([field]) => field);
    return {
      place,
      row,
      id: typeof id === 'string' ? id : null,
      context: null,
      question: '',
      texts: names.map((name) => String(rest[name])),
      choices: set.classes,
      labels: letters(set.classes.length),
      answer: classOf(label as string | number | boolean | null | undefined, set, place),
      meta: Object.fromEntries(Object.entries(rest).filter(([name]) => !names.includes(name))),
    };
  };
}

function classOf(
  label: string | number | boolean | null | undefined,
  { answer = 'label', classes }: SentenceSet,
  place: RowPlace,
): number | null {
  if (label === null || label === undefined) return null;
  if (typeof label === 'boolean') return Number(label);
  const name = className(label);
  const index = isWholeNumber(name) ? Number(name) : classes.indexOf(name.replaceAll('_', ' '));
  if (name === '' || (isWholeNumber(name) && index === -1)) return null;
  if (index >= 0 && index < classes.length) return index;
  const known = classes.map((known, at) => `${at} (${known})`).join(', ');
  throw datasetError(place, `${answer}: must be one of ${known}, got ${JSON.stringify(label)}`, {
    hint: 'rows without an answer have -1, or leave the field out',
  });
}

function textLines({ texts }: SentenceSet, item: Item): PromptPart[] {
  return texts.flatMap(([, heading], index) => [
    fixed(`${heading}: `),
    cuttable(item.texts[index] ?? ''),
    fixed('\n'),
  ]);
}

function correctedPlan(set: SentenceSet, item: Item): PromptPlan {
  const lines = `Labels:\n${letteredLines(set.classes)}${CUE}`;
  return {
    row: item.row,
    parts: [fixed(`${set.question}\n\n`), ...textLines(set, item), fixed(lines)],
    cue: CUE,
    labels: letters(set.classes.length),
    label: item.answer ?? -1,
    eos: false,
  };
}

function referencePlan(set: SentenceSet, instruction: string, item: Item): PromptPlan {
  return {
    row: item.row,
    parts: [fixed(`${instruction}\n\n`), ...textLines(set, item), fixed(CUE)],
    cue: CUE,
    labels: set.classes.map((_, index) => String(index)),
    label: item.answer ?? -1,
    eos: false,
  };
}
