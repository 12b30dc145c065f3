/** `bpeft datasets list | show | pull | preview` */

import type { Command } from 'commander';
import { promptText } from '../../datasets/prompts/prompt-plan.ts';
import { listDatasets, resolveDataset } from '../../datasets/registry.ts';
import type { Dataset, Item } from '../../datasets/rows/item.ts';
import { planPair, planPrompt, taskOf } from '../../datasets/tasks/tasks.ts';
import { BpeftError } from '../../errors.ts';
import {
  DATA_PROTOCOLS,
  type DataProtocol,
  PROTOCOLS,
  type Protocol,
} from '../../protocol/data-protocol.ts';
import { newCommand } from '../command.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addOutputFlags, progressLine } from '../settings.ts';

interface Flags {
  readonly dataDir?: string;
  readonly split?: string;
  readonly protocol: string;
  readonly limit: string;
  readonly encoder?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function defineDatasets(command: Command, output: Output): void {
  const print = (flags: Flags, value: unknown, lines: readonly string[]) => {
    output.stdout.write(
      flags.json === true ? `${JSON.stringify(value, null, 2)}\n` : `${lines.join('\n')}\n`,
    );
  };
  const sub = (name: string, description: string) =>
    addOutputFlags(newCommand(command.command(name), output).description(description));

  sub('list', 'every dataset that has a name').action((flags: Flags) => {
    const entries = listDatasets();
    const width = Math.max(...entries.map(({ name }) => name.length));
    print(
      flags,
      entries,
      entries.map(({ name, title, licence }) => `${name.padEnd(width)}  ${title} (${licence})`),
    );
  });

  sub('show', 'source, licence, splits and sizes')
    .argument('<dataset>', 'name, org/name[:configuration] of the Hub, folder or file')
    .option('--data-dir <name>', 'folder that holds the datasets by name')
    .action(async (name: string, flags: Flags) => {
      const entry = listDatasets().find((one) => one.name === name);
      const source =
        entry === undefined || entry.isEmbedded === true || flags.dataDir !== undefined
          ? await resolveDataset(name, { dataDir: flags.dataDir })
          : null;
      const shown = {
        ...(entry ?? { name: source?.name, family: source?.family }),
        present: source?.splits ?? null,
      };
      print(
        flags,
        shown,
        Object.entries(shown).map(
          ([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
        ),
      );
    });

  sub('pull', 'download a dataset of the Hub into the cache, and read every row of it')
    .argument('<dataset>', 'org/name[@revision][:configuration], or a name')
    .option('--split <name>', 'only this split')
    .action(async (name: string, flags: Flags) => {
      const onProgress = progressLine(output, flags);
      await interruptible(output, async (signal) => {
        const call = { signal, onProgress };
        const source = await resolveDataset(name, call);
        const splits: object[] = [];
        const lines: string[] = [];
        for (const split of flags.split === undefined ? source.splits : [flags.split]) {
          const { rows, files, licence, hub } = await source.stream(split, call);
          splits.push({ split, rows, licence, hub, files });
          lines.push(`${split}  ${rows} rows in ${files.map(({ path }) => path).join(', ')}`);
        }
        const at = source.hub === null ? [] : [`${source.hub.repository}@${source.hub.revision}`];
        print(flags, { name: source.name, splits }, [...at, ...lines]);
      });
    });

  sub('preview', 'the first prompts, as the model will read them')
    .argument('<dataset>', 'name, org/name[:configuration] of the Hub, folder or file')
    .option('--data-dir <name>', 'folder that holds the datasets by name')
    .option('--split <name>', "split (default: the dataset's, mostly validation)")
    .option('--protocol <name>', PROTOCOLS.join(' or '), 'corrected')
    .option('--limit <n>', 'how many', '3')
    .option('--encoder', 'the texts that an encoder reads, instead of prompts')
    .action(async (name: string, flags: Flags) => {
      const protocol = DATA_PROTOCOLS[checkedProtocol(flags.protocol)];
      const limit = checkedCount(flags.limit);
      const onProgress = progressLine(output, flags);
      const source = await resolveDataset(name, { dataDir: flags.dataDir, onProgress });
      const dataset = await source.load(flags.split ?? null, { limit, onProgress });
      if (flags.encoder === true) {
        const shown = dataset.items.map((item) => textsOfRow(dataset, item, protocol));
        print(flags, shown, shown.map(textsShown));
        return;
      }
      const shown = dataset.items.map((item) => {
        const plan = planPrompt(dataset, item, protocol);
        return {
          row: item.row,
          prompt: promptText(plan),
          labels: plan.labels,
          label: plan.labels[plan.label] ?? null,
        };
      });
      print(
        flags,
        shown,
        shown.map(
          ({ row, prompt, labels, label }) =>
            `--- row ${row}, ${labels.join(' ')}, answer ${label ?? 'none'}\n${prompt}`,
        ),
      );
    });
}

interface RowTexts {
  readonly row: number;
  readonly first: string;
  readonly second: string | null;
  /** The classes that compete. */
  readonly labels: readonly string[];
  readonly label: string | null;
}

function textsOfRow(dataset: Dataset, item: Item, protocol: DataProtocol): RowTexts {
  const { first, second, competing, label } = planPair(dataset, item, protocol);
  const names = taskOf(dataset.family).names(item);
  const labels = Array.from({ length: competing }, (_, index) => names[index] ?? String(index));
  return { row: item.row, first, second, labels, label: labels[label] ?? null };
}

function textsShown({ row, first, second, labels, label }: RowTexts): string {
  const texts = second === null ? first : `${first}\n[second text] ${second}`;
  return `--- row ${row}, ${labels.join(' ')}, answer ${label ?? 'none'}\n${texts}`;
}

function checkedProtocol(name: string): Protocol {
  const protocol = PROTOCOLS.find((one) => one === name);
  if (protocol === undefined) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `--protocol must be one of ${PROTOCOLS.join(', ')}, got ${JSON.stringify(name)}`,
    );
  }
  return protocol;
}

function checkedCount(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new BpeftError(
    'BPEFT_USAGE',
    `--limit must be a positive whole number, got ${JSON.stringify(text)}`,
  );
}
