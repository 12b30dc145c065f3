/** `bpeft models list | show` */

import type { Command } from 'commander';
import { BUILTIN_MODELS } from '../../engine/model-source.ts';
import { fileJson } from '../../run/records/json.ts';
import { newCommand } from '../command.ts';
import type { Output } from '../output.ts';
import { addOutputFlags } from '../settings.ts';

export function defineModels(command: Command, output: Output): void {
  const print = (isJson: boolean | undefined, value: unknown, lines: readonly string[]) => {
    output.stdout.write(isJson === true ? `${fileJson(value, 2)}\n` : `${lines.join('\n')}\n`);
  };
  const sub = (name: string, description: string) =>
    addOutputFlags(newCommand(command.command(name), output).description(description));

  sub('list', 'models that need no file').action(({ json }: { json?: boolean }) => {
    print(
      json,
      BUILTIN_MODELS,
      BUILTIN_MODELS.map(({ name, title }) => `${name}  ${title}`),
    );
  });

  sub('show', 'architecture, size, tensor types and tokenizer')
    .argument('<model>', 'folder, .gguf file, org/name[@revision][:file] or builtin name')
    .action(async (name: string, { json }: { json?: boolean }) => {
      const { loadModel } = await import('../../engine/model.ts');
      const model = await loadModel({ model: name });
      try {
        const { sha256, name: own } = model.resolved;
        const shown = { sha256, name: own, ...model.info };
        const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
        print(
          json,
          shown,
          Object.entries(shown).map(([key, value]) => `${key}: ${text(value)}`),
        );
      } finally {
        await model.dispose();
      }
    });
}
