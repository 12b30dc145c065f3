/** `bpeft models list | show | pull | remove` */

import type { Command } from 'commander';
import { BUILTIN_MODELS } from '../../engine/model-source.ts';
import { BpeftError } from '../../errors.ts';
import type { CachedRepository } from '../../hub/cached.ts';
import { hubFrom } from '../../hub/environment.ts';
import { type ModelId, parseModelId } from '../../hub/model-id.ts';
import { bytesText } from '../../hub/sizes.ts';
import { fileJson } from '../../run/records/json.ts';
import { newCommand } from '../command.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addOutputFlags, progressLine } from '../settings.ts';

interface Flags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly dryRun?: boolean;
}

export function defineModels(command: Command, output: Output): void {
  const print = ({ json }: Flags, value: unknown, lines: readonly string[]) => {
    output.stdout.write(json === true ? `${fileJson(value, 2)}\n` : `${lines.join('\n')}\n`);
  };
  const sub = (name: string, description: string) =>
    addOutputFlags(newCommand(command.command(name), output).description(description));

  sub('list', 'models that need no file, and those of the Hub that the cache holds').action(
    async (flags: Flags) => {
      const { cachedContents } = await import('../../hub/cached.ts');
      const { cache } = hubFrom(process.env);
      const cached = await cachedContents(cache, 'model');
      const bytes = cached.reduce((sum, one) => sum + one.bytes, 0);
      print(flags, { builtin: BUILTIN_MODELS, cache, bytes, cached }, [
        ...BUILTIN_MODELS.map(({ name, title }) => `${name}  ${title}`),
        `${cache}: ${cached.length} of the Hub, ${bytesText(bytes)}`,
        ...cached.flatMap((one) => [`${one.repository}  ${summary(one)}`, ...revisionLines(one)]),
      ]);
    },
  );

  sub(
    'show',
    'architecture, size, tensor types and tokenizer; of a model of the Hub, what the cache holds',
  )
    .argument('<model>', 'folder, .gguf file, org/name[@revision][:file] or builtin name')
    .action(async (name: string, flags: Flags) => {
      const { loadModel } = await import('../../engine/model.ts');
      const onProgress = progressLine(output, flags);
      const model = await interruptible(output, (signal) =>
        loadModel({ model: name, device: 'cpu' }, { signal, onProgress }),
      );
      try {
        const { sha256, name: own, revision } = model.resolved;
        const cache = revision === null ? null : await held(name);
        const shown = {
          sha256,
          name: own,
          ...(cache === null ? {} : { revision, cache }),
          ...model.info,
        };
        const text = (value: unknown) =>
          typeof value === 'string' ? value : JSON.stringify(value);
        const lines = Object.entries(shown).map(([key, value]) =>
          key === 'cache' && cache !== null
            ? [`cache: ${summary(cache)}`, ...revisionLines(cache)].join('\n')
            : `${key}: ${text(value)}`,
        );
        print(flags, shown, lines);
      } finally {
        await model.dispose();
      }
    });

  sub('pull', 'download a model of the Hub into the cache, or what is missing of it')
    .argument('<model>', 'org/name[@revision][:file]')
    .action(async (name: string, flags: Flags) => {
      const { pullModel } = await import('../../hub/pull.ts');
      const id = hubName(name);
      const onProgress = progressLine(output, flags);
      const pulled = await interruptible(output, (signal) => pullModel(id, { signal, onProgress }));
      print(flags, pulled, [`${pulled.repository}@${pulled.commit}`, pulled.path]);
    });

  sub('remove', 'remove a model of the Hub from the cache, or one revision of it')
    .argument('<model>', 'org/name, or org/name@revision: then what other revisions share stays')
    .option('--dry-run', 'say what would be freed, and remove nothing')
    .action(async (name: string, flags: Flags) => {
      const { removeCached } = await import('../../hub/cached.ts');
      const { repository, file } = hubName(name);
      if (file !== null) {
        throw new BpeftError(
          'BPEFT_USAGE',
          `remove takes a model or a revision, got the file ${file}`,
          {
            hint: `bpeft models remove ${repository}`,
          },
        );
      }
      const revision = name.includes('@') ? hubName(name).revision : null;
      const isDryRun = flags.dryRun === true;
      const { cache } = hubFrom(process.env);
      const bytes = await interruptible(output, (signal) =>
        removeCached(cache, { kind: 'model', repository, revision }, { isDryRun, signal }),
      );
      const done = isDryRun ? 'would be removed, and free' : 'removed:';
      print(flags, { repository, revision, bytes, dryRun: isDryRun }, [
        `${name} ${done} ${bytesText(bytes)}${isDryRun ? '' : ' are free'}`,
      ]);
    });
}

function hubName(name: string): ModelId {
  const id = parseModelId(name);
  if (id !== null) return id;
  throw new BpeftError('BPEFT_USAGE', `${JSON.stringify(name)} is no name of a model on the Hub`, {
    hint: 'write org/name, org/name@revision or org/name:file.gguf',
  });
}

async function held(name: string): Promise<CachedRepository> {
  const { cachedRepository } = await import('../../hub/cached.ts');
  return cachedRepository(hubFrom(process.env).cache, { kind: 'model', ...hubName(name) });
}

function summary({ bytes, unfinishedBytes: unfinished }: CachedRepository): string {
  return `${bytesText(bytes)}${unfinished === 0 ? '' : `, of which ${bytesText(unfinished)} unfinished`}`;
}

function revisionLines({ revisions }: CachedRepository): string[] {
  return revisions.map(({ commit, refs, files, bytes, sharedBytes: shared }) => {
    const names = refs.length === 0 ? '' : ` (${refs.join(', ')})`;
    const common = shared === 0 ? '' : `, ${bytesText(shared)} of them shared with other revisions`;
    return `  ${commit}${names}  ${files.length} files, ${bytesText(bytes)}${common}`;
  });
}
