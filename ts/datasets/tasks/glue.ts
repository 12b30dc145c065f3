/**
 * GLUE (Wang et al., arXiv 1804.07461) without its regression, and SuperGLUE's CB and WiC (Wang et
 * al., arXiv 1905.00537). Labels of the test splits are not public: evaluated is validation.
 */

import { type SentenceSet, sentenceEntry, sentenceTask } from './sentences.ts';
import type { Task } from './task.ts';

const SENTENCE = [['sentence', 'Sentence']] as const;
const TWO_SENTENCES = [
  ['sentence1', 'Sentence 1'],
  ['sentence2', 'Sentence 2'],
] as const;

const SETS = [
  {
    family: 'cola',
    title: 'Corpus of Linguistic Acceptability',
    source: 'Warstadt et al. 2018, arXiv 1805.12471',
    licence: 'not stated',
    texts: SENTENCE,
    classes: ['unacceptable', 'acceptable'],
    question: 'Is the sentence below grammatical?',
    instruction:
      'For each sentence below, indicate whether it is grammatically acceptable (1) or unacceptable (0).',
    sizes: { train: 8551, validation: 1043 },
  },
  {
    family: 'sst2',
    title: 'Stanford Sentiment Treebank, two classes',
    source: 'Socher et al. 2013',
    licence: 'not stated',
    texts: SENTENCE,
    classes: ['negative', 'positive'],
    question: 'Which sentiment does the sentence below express?',
    instruction:
      'For each sentence below, indicate whether the sentiment is negative (0) or positive (1).',
    sizes: { train: 67349, validation: 872 },
  },
  {
    family: 'mrpc',
    title: 'Microsoft Research Paraphrase Corpus',
    source: 'Dolan & Brockett 2005',
    licence: 'not open',
    texts: TWO_SENTENCES,
    classes: ['not equivalent', 'equivalent'],
    question: 'Do the two sentences below mean the same?',
    instruction:
      'For each pair of sentences below, indicate whether the Sentence 1 is equivalent (1) or not equivalent (2) to the Sentence 2.',
    sizes: { train: 3668, validation: 408, test: 1725 },
  },
  {
    family: 'qqp',
    title: 'Quora Question Pairs',
    source: 'Iyer et al. 2017',
    licence: 'not open',
    texts: [
      ['question1', 'Question 1'],
      ['question2', 'Question 2'],
    ],
    classes: ['not duplicate', 'duplicate'],
    question: 'Do the two questions below ask the same?',
    instruction:
      'For each pair of questions below, indicate whether the first is a duplicate (1) or not a duplicate (0) of the first.',
    sizes: { train: 363_846, validation: 40_430 },
  },
  {
    family: 'qnli',
    title: 'Question NLI: does a sentence answer a question',
    source: 'Wang et al. 2018, arXiv 1804.07461',
    licence: 'CC BY-SA 4.0',
    texts: [
      ['question', 'Question'],
      ['sentence', 'Sentence'],
    ],
    classes: ['entailment', 'not entailment'],
    question: 'Does the sentence below hold the answer to the question (entailment)?',
    instruction:
      'For each sentence below, indicate whether it entails (0) or does not entail (1) the associated question.',
    sizes: { train: 104_743, validation: 5463 },
  },
  {
    family: 'mnli',
    title: 'Multi-Genre Natural Language Inference',
    source: 'Williams et al. 2018, arXiv 1704.05426',
    licence: 'not stated',
    texts: [
      ['hypothesis', 'Hypothesis'],
      ['premise', 'Premise'],
    ],
    pair: ['premise', 'hypothesis'],
    classes: ['entailment', 'neutral', 'contradiction'],
    question: 'How does the hypothesis below follow from the premise?',
    instruction:
      'For each premise below, indicate whether the hypothesis entails (0), is neutral towards (1) or contradicts (2) the premise.',
    sizes: { train: 392_702, validation_matched: 9815, validation_mismatched: 9832 },
  },
  {
    family: 'rte',
    title: 'Recognizing Textual Entailment',
    source: 'Dagan et al. 2006 and the challenges after it',
    licence: 'not stated',
    texts: TWO_SENTENCES,
    classes: ['entailment', 'not entailment'],
    question: 'Does sentence 2 below follow from sentence 1 (entailment)?',
    instruction:
      'For each pair of sentences below, indicate whether the second entails (0) or does not entail (1) the first.',
    sizes: { train: 2490, validation: 277 },
  },
  {
    family: 'wnli',
    title: 'Winograd NLI',
    source: 'Levesque et al. 2011',
    licence: 'CC BY 4.0',
    texts: TWO_SENTENCES,
    classes: ['not entailment', 'entailment'],
    question: 'Does sentence 2 below follow from sentence 1 (entailment)?',
    instruction:
      'For each pair of sentences below, indicate whether the second entails (1) or does not entail (0) the first.',
    sizes: { train: 635, validation: 71 },
  },
  {
    family: 'cb',
    title: 'CommitmentBank',
    source: 'de Marneffe et al. 2019',
    licence: 'not stated',
    texts: [
      ['premise', 'Premise'],
      ['hypothesis', 'Hypothesis'],
    ],
    classes: ['entailment', 'contradiction', 'neutral'],
    question: 'How does the hypothesis below follow from the premise?',
    instruction: null,
    sizes: { train: 250, validation: 56 },
  },
  {
    family: 'wic',
    title: 'Word in Context',
    source: 'Pilehvar & Camacho-Collados 2019, arXiv 1808.09121',
    licence: 'CC BY-NC 4.0',
    texts: [['word', 'Word'], ...TWO_SENTENCES],
    pair: ['sentence1', 'sentence2'], // not the word, as in the reference
    classes: ['another meaning', 'the same meaning'],
    question: 'Which meaning does the word have in the two sentences below?',
    instruction: null,
    answer: 'answer',
    sizes: { train: 5428, validation: 638 },
  },
] as const satisfies readonly SentenceSet[];

/** A dataset of this file. */
export type GlueFamily = (typeof SETS)[number]['family'];

export const GLUE_TASKS: Readonly<Record<GlueFamily, Task>> = Object.fromEntries(
  SETS.map((set) => [set.family, sentenceTask(set)]),
) as Record<GlueFamily, Task>;

export const GLUE = SETS.map(sentenceEntry);

/** Known by name, and no classification. */
export const REGRESSIONS: Readonly<Record<string, string>> = {
  stsb: 'is a regression (a similarity from 0 to 5), and classes are what bpeft trains',
};
