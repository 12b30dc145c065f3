/**
 * CommonsenseQA: questions that need everyday knowledge, with five choices; the concept that a
 * question was made from is kept as meta data.
 *
 * Source: Talmor et al., "CommonsenseQA: A Question Answering Challenge Targeting Commonsense
 * Knowledge" (arXiv 1811.00937); MIT. Rows `{id, question, question_concept, choices: {label,
 * text}, answerKey}`; those of test have no answer. Splits: train 9741, validation 1221, test 1140.
 */

import type { DatasetEntry } from './entry.ts';
import { multipleChoiceTask } from './multiple-choice.ts';

export const COMMONSENSE_QA_TASK = multipleChoiceTask('commonsense_qa', {
  classCount: 5,
  wording: {
    instruction: 'Answer the multiple choice question below by returning the answer label (A to E)',
  },
});

export const COMMONSENSE_QA: readonly DatasetEntry[] = [
  {
    name: 'commonsense_qa',
    title: 'CommonsenseQA, everyday knowledge',
    source: 'Talmor et al. 2019, arXiv 1811.00937',
    licence: 'MIT',
    family: 'commonsense_qa',
    splits: {
      train: ['commonsense_qa/train.jsonl'],
      validation: ['commonsense_qa/validation.jsonl'],
      test: ['commonsense_qa/test.jsonl'],
    },
    sizes: { train: 9741, validation: 1221, test: 1140 },
    trainSplit: 'train',
    defaultSplit: 'validation',
  },
];
