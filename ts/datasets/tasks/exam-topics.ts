/**
 * exam-topics: to which of five fields does an exam question belong?
 *
 * Made from MMLU (Hendrycks et al., arXiv 2009.03300; MIT): questions of at most 320 characters,
 * sorted by field. Rows `{id, question, choices, labels, answer: index, subject}`. Splits: train
 * 300, validation 300, test 1000; `shift` 360 (subjects unseen in training, same fields), `ood` 400
 * (other fields, no answer).
 */

import type { DatasetEntry } from './entry.ts';

const EXAM_TOPICS_ENTRY: DatasetEntry = {
  name: 'exam-topics',
  title: 'field of an exam question, with shifted and out-of-distribution splits',
  source: 'made from MMLU, Hendrycks et al. 2020, arXiv 2009.03300',
  licence: 'MIT',
  family: 'multiple-choice',
  splits: {
    train: ['exam_topics/train.jsonl'],
    validation: ['exam_topics/validation.jsonl'],
    test: ['exam_topics/test.jsonl'],
    shift: ['exam_topics/shift.jsonl'],
    ood: ['exam_topics/ood.jsonl'],
  },
  sizes: { train: 300, validation: 300, test: 1000, shift: 360, ood: 400 },
  trainSplit: 'train',
  defaultSplit: 'validation',
};

export const EXAM_TOPICS: readonly DatasetEntry[] = [
  EXAM_TOPICS_ENTRY,
  {
    ...EXAM_TOPICS_ENTRY,
    name: 'builtin:exam-topics',
    title: `${EXAM_TOPICS_ENTRY.title}; ships with bpeft`,
    isEmbedded: true,
  },
];
