import { join } from 'node:path';
import { expect, it } from 'vitest';
import { promptText } from '../../../../ts/datasets/prompts/prompt-plan.ts';
import { resolveDataset } from '../../../../ts/datasets/registry.ts';
import { planPrompt } from '../../../../ts/datasets/tasks/tasks.ts';
import { DATA_PROTOCOLS, type Protocol } from '../../../../ts/protocol/data-protocol.ts';

const dataDir = join(import.meta.dirname, '../../../fixtures/data');

async function shown(name: string, split: string, row: number, protocol: Protocol) {
  const dataset = await (await resolveDataset(name, { dataDir })).load(split);
  const item = dataset.items[row];
  if (item === undefined) throw new Error(`no row ${row}`);
  const plan = planPrompt(dataset, item, DATA_PROTOCOLS[protocol]);
  return {
    text: promptText(plan),
    labels: plan.labels.join(' '),
    label: plan.label,
    eos: plan.eos,
  };
}

it('reference: ARC-Challenge, an item with digit labels', async () => {
  expect(await shown('ARC-Challenge', 'train', 1, 'reference')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 1,
      "labels": "A B C D E",
      "text": "Return the label of the correct answer for the question below.

    Question: A chemical property of a mineral is evident if the mineral
    Choices:
    breaks easily when struck with a hammer) 1
    bubbles when acid is placed on it) 2
    is easily scratched by a fingernail) 3
    reflects light from its surface) 4
    Answer:",
    }
  `);
});

it('corrected: ARC-Challenge, an item with digit labels', async () => {
  expect(await shown('ARC-Challenge', 'train', 1, 'corrected')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 1,
      "labels": "A B C D",
      "text": "Return the label of the correct answer for the question below.

    Question: A chemical property of a mineral is evident if the mineral
    Choices:
    A) breaks easily when struck with a hammer
    B) bubbles when acid is placed on it
    C) is easily scratched by a fingernail
    D) reflects light from its surface
    Answer:",
    }
  `);
});

it('reference: ARC-Challenge, an item with three choices', async () => {
  expect(await shown('ARC-Challenge', 'train', 2, 'reference')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 0,
      "labels": "A B C D E",
      "text": "Return the label of the correct answer for the question below.

    Question: Base your answers on the information below. One hot, summer day it rained very heavily. After the rain, a plastic pan on a picnic table had 2 cm of rainwater in it. Four hours later, all the rainwater in the pan was gone. If the day were cool instead of hot, the rainwater in the pan would have disappeared
    Choices:
    slower) A
    faster) B
    in the same amount of time) C
    Answer:",
    }
  `);
});

it('corrected: ARC-Challenge, an item with three choices', async () => {
  expect(await shown('ARC-Challenge', 'train', 2, 'corrected')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 0,
      "labels": "A B C",
      "text": "Return the label of the correct answer for the question below.

    Question: Base your answers on the information below. One hot, summer day it rained very heavily. After the rain, a plastic pan on a picnic table had 2 cm of rainwater in it. Four hours later, all the rainwater in the pan was gone. If the day were cool instead of hot, the rainwater in the pan would have disappeared
    Choices:
    A) slower
    B) faster
    C) in the same amount of time
    Answer:",
    }
  `);
});

it('reference: OpenBookQA', async () => {
  expect(await shown('obqa', 'train', 0, 'reference')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 3,
      "labels": "A B C D",
      "text": "Return the label of the correct answer for the question below.

    Question: The sun is responsible for
    Chioces:
    puppies learning new tricks) A
    children growing up and getting old) B
    flowers wilting in a vase) C
    plants sprouting, blooming and wilting) D
    Answer:",
    }
  `);
});

it('corrected: OpenBookQA', async () => {
  expect(await shown('obqa', 'train', 0, 'corrected')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 3,
      "labels": "A B C D",
      "text": "Return the label of the correct answer for the question below.

    Question: The sun is responsible for
    Choices:
    A) puppies learning new tricks
    B) children growing up and getting old
    C) flowers wilting in a vase
    D) plants sprouting, blooming and wilting
    Answer:",
    }
  `);
});

it('reference: Winogrande', async () => {
  expect(await shown('winogrande_s', 'train', 0, 'reference')).toMatchInlineSnapshot(`
    {
      "eos": true,
      "label": 1,
      "labels": "A B",
      "text": "Return the label of the correct answer for the question below.

    Question: Ian volunteered to eat Dennis's menudo after already having a bowl because _ despised eating intestine.
    Choices:
    A) Ian
    B) Dennis
    Answer:",
    }
  `);
});

it('corrected: Winogrande', async () => {
  expect(await shown('winogrande_s', 'train', 0, 'corrected')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 1,
      "labels": "A B",
      "text": "Return the label of the correct answer for the question below.

    Question: Ian volunteered to eat Dennis's menudo after already having a bowl because _ despised eating intestine.
    Choices:
    A) Ian
    B) Dennis
    Answer:",
    }
  `);
});

it('reference: MMLU', async () => {
  expect(await shown('MMLU-chem', 'test', 0, 'reference')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 3,
      "labels": "A B C D",
      "text": "Return the label of the correct answer for the question below.

    Question: The rate, r, of a zero-order chemical reaction A → B can be expressed as which of the following?
    Choices:
    A) r = k ln[A]
    B) r = k [A]^2
    C) r = k [A]
    D) r = k
    Answer:",
    }
  `);
});

it('corrected: MMLU', async () => {
  expect(await shown('MMLU-chem', 'test', 0, 'corrected')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 3,
      "labels": "A B C D",
      "text": "Return the label of the correct answer for the question below.

    Question: The rate, r, of a zero-order chemical reaction A → B can be expressed as which of the following?
    Choices:
    A) r = k ln[A]
    B) r = k [A]^2
    C) r = k [A]
    D) r = k
    Answer:",
    }
  `);
});

it('reference: exam-topics', async () => {
  expect(await shown('exam-topics', 'train', 0, 'reference')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 2,
      "labels": "A B C D E",
      "text": "Return the label of the correct answer for the question below.

    Question: To which field does this exam question belong? An airplane with its nose pointing north with an airspeed of 40 km/h in a 30-km/h crosswind (at right angles) has a groundspeed of
    Choices:
    A) law
    B) medicine
    C) physics
    D) history
    E) economics
    Answer:",
    }
  `);
});

it('corrected: exam-topics', async () => {
  expect(await shown('exam-topics', 'train', 0, 'corrected')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 2,
      "labels": "A B C D E",
      "text": "Return the label of the correct answer for the question below.

    Question: To which field does this exam question belong? An airplane with its nose pointing north with an airspeed of 40 km/h in a 30-km/h crosswind (at right angles) has a groundspeed of
    Choices:
    A) law
    B) medicine
    C) physics
    D) history
    E) economics
    Answer:",
    }
  `);
});

it('reference: BoolQ', async () => {
  expect(await shown('boolq', 'train', 0, 'reference')).toMatchInlineSnapshot(`
    {
      "eos": true,
      "label": 1,
      "labels": "True False",
      "text": "Read the passage below and answer the question with the words 'true' or 'false'.

    Passage: Windows Movie Maker (formerly known as Windows Live Movie Maker in Windows 7) is a discontinued video editing software by Microsoft. It is a part of Windows Essentials software suite and offers the ability to create and edit videos as well as to publish them on OneDrive, Facebook, Vimeo, YouTube, and Flickr.
    Question: is windows movie maker part of windows essentials
    Answer (true or false):",
    }
  `);
});

it('corrected: BoolQ', async () => {
  expect(await shown('boolq', 'train', 0, 'corrected')).toMatchInlineSnapshot(`
    {
      "eos": false,
      "label": 0,
      "labels": "true false",
      "text": "Read the passage below and answer the question with the words 'true' or 'false'.

    Passage: Windows Movie Maker (formerly known as Windows Live Movie Maker in Windows 7) is a discontinued video editing software by Microsoft. It is a part of Windows Essentials software suite and offers the ability to create and edit videos as well as to publish them on OneDrive, Facebook, Vimeo, YouTube, and Flickr.
    Question: is windows movie maker part of windows essentials
    Answer (true or false):",
    }
  `);
});

it('reference: BoolQ keeps the first 1024 characters of a passage; corrected keeps it whole', async () => {
  const reference = await shown('boolq', 'validation', 3, 'reference');
  const corrected = await shown('boolq', 'validation', 3, 'corrected');
  const passage = ({ text }: { text: string }) => /Passage: (.*)\nQuestion/s.exec(text)?.[1] ?? '';
  expect(Array.from(passage(reference))).toHaveLength(1024);
  expect(passage(corrected).length).toBeGreaterThan(1024);
  expect(passage(corrected).startsWith(passage(reference))).toBe(true);
});
