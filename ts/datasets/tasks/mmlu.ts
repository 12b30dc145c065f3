/**
 * MMLU: exam questions of 57 subjects, in the reference's seven groups.
 *
 * Source: Hendrycks et al., "Measuring Massive Multitask Language Understanding" (arXiv
 * 2009.03300); MIT. Rows `{id, question, choices, labels, answer: index}`. A group is the test sets
 * of its subjects, one after another in alphabetical order (that of the full table); as in the
 * reference it has no other split, so training on it would train on the test set.
 */

import type { DatasetEntry } from './entry.ts';
import { multipleChoiceTask } from './multiple-choice.ts';

export const MMLU_TASK = multipleChoiceTask('mmlu', { classCount: 4 });

const GROUPS = {
  chem: ['chemistry', 100, ['college_chemistry']],
  phy: ['physics', 102, ['college_physics']],
  bio: ['biology', 144, ['college_biology']],
  eng: ['engineering', 145, ['electrical_engineering']],
  cs: [
    'computer science',
    412,
    [
      'college_computer_science',
      'computer_security',
      'high_school_computer_science',
      'machine_learning',
    ],
  ],
  law: ['law', 1763, ['international_law', 'jurisprudence', 'professional_law']],
  health: [
    'health',
    1540,
    [
      'anatomy',
      'clinical_knowledge',
      'college_medicine',
      'human_aging',
      'nutrition',
      'professional_medicine',
      'virology',
    ],
  ],
} as const;

export const MMLU: readonly DatasetEntry[] = Object.entries(GROUPS).map(
  ([group, [title, rows, subjects]]) => ({
    name: `MMLU-${group}`,
    title: `MMLU, ${title} (${subjects.length === 1 ? '1 subject' : `${subjects.length} subjects`})`,
    source: 'Hendrycks et al. 2020, arXiv 2009.03300',
    licence: 'MIT',
    family: 'mmlu' as const,
    splits: { test: subjects.map((subject) => `mmlu/${subject}/test.jsonl`) },
    sizes: { test: rows },
    trainSplit: 'test',
    defaultSplit: 'test',
  }),
);
