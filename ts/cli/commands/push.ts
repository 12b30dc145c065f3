/** `bpeft push` */

import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { BpeftError } from '../../errors.ts';
import { hubFrom } from '../../hub/environment.ts';
import { parseModelId } from '../../hub/model-id.ts';
import { bytesText } from '../../hub/sizes.ts';
import { isAdapterFile } from '../../run/records/adapter-files.ts';
import { fileJson } from '../../run/records/json.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addOutputFlags, progressLine } from '../settings.ts';

interface Flags {
  readonly yes?: boolean;
  readonly create?: boolean;
  readonly message?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const CARD = 'README.md';

export function definePush(command: Command, output: Output): void {
  command
    .argument('<run>', 'folder of a run or of an adapter')
    .argument('<repository>', 'org/name on the Hub')
    .option('--yes', 'send it; without this, only what would be sent is shown')
    .option('--create', 'make the repository, private, if it is not there')
    .option('--message <text>', "the commit's message");
  addOutputFlags(command).action(async (run: string, name: string, flags: Flags) => {
    const repository = repositoryName(name);
    const folder = adapterIn(run);
    const isSent = flags.yes === true;
    const hasCard = await writtenCard(run, folder, isSent);
    const paths = (await readdir(folder, { recursive: true }))
      .filter((path) => isAdapterFile(path) || path === CARD)
      .sort();
    const files = await Promise.all(
      paths.map(async (path) => ({ path, bytes: (await stat(join(folder, path))).size })),
    );
    const { pushFolder } = await import('../../hub/push.ts');
    const pushed = !isSent
      ? null
      : await interruptible(output, (signal) =>
          pushFolder(
            hubFrom(process.env),
            {
              ...{ repository, folder, paths, isCreated: flags.create === true },
              message: flags.message ?? `Upload the adapter of ${basename(resolve(run))}`,
            },
            { signal, onProgress: progressLine(output, flags) },
          ),
        );
    const lines = [
      ...files.map(({ path, bytes }) => `${path}  ${bytesText(bytes)}`),
      ...(hasCard ? [] : [`${CARD}  a calibration card, written with --yes`]),
      pushed === null
        ? `nothing was sent to ${repository}; --yes sends these`
        : `${pushed.url} is at ${pushed.commit}`,
    ];
    output.stdout.write(
      flags.json === true
        ? `${fileJson({ repository, files, pushed }, 2)}\n`
        : `${lines.join('\n')}\n`,
    );
  });
}

function repositoryName(name: string): string {
  const id = parseModelId(name);
  if (id !== null && id.repository === name) return name;
  throw new BpeftError(
    'BPEFT_USAGE',
    `push takes org/name of the Hub, got ${JSON.stringify(name)}`,
  );
}

/** @throws {BpeftError} `BPEFT_ADAPTER`: neither a run with an adapter nor one */
function adapterIn(run: string): string {
  const found = [join(run, 'adapter'), run].find((folder) =>
    existsSync(join(folder, 'adapter_config.json')),
  );
  if (found !== undefined) return found;
  throw new BpeftError(
    'BPEFT_ADAPTER',
    `no adapter_config.json in ${run}, nor in ${join(run, 'adapter')}`,
    {
      hint: 'name the folder of a finished run, or of an adapter',
    },
  );
}

/**
 * Whether the folder has a card, or nobody can write one; that of a run is written where it is
 * `due`.
 */
async function writtenCard(run: string, folder: string, isDue: boolean): Promise<boolean> {
  if (existsSync(join(folder, CARD)) || !existsSync(join(run, 'result.json'))) return true;
  if (isDue)
    await (await import('../../report/write-report.ts')).writeCard([run], { overwrite: false });
  return isDue;
}
