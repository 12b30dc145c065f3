/**
 * Where a run is also written to, beside its own folder: services that people look at runs with.
 */

import type { ServiceSettings } from '../config/services.ts';
import type { Sink } from '../events/sinks.ts';
import { kebabCase } from '../names.ts';

/**
 * The sinks that settings or environment ask for.
 * @param tell hears what people should know
 * @throws {BpeftError} `BPEFT_USAGE`: a WANDB_* variable has a value that it cannot have
 */
export async function serviceSinks(
  { log = [], out, ...wandb }: ServiceSettings & { readonly out?: string | undefined },
  tell: (message: string) => void,
): Promise<readonly Sink[]> {
  const { wandbProject, wandbEntity, wandbName } = wandb;
  const sinks: Sink[] = [];
  const { asksForWandb } = await import('../wandb/environment.ts');
  const isWandb = log.includes('wandb') || asksForWandb(process.env);
  for (const [key, value] of Object.entries({ wandbProject, wandbEntity, wandbName })) {
    if (value !== undefined && !isWandb)
      tell(`--${kebabCase(key)} does nothing without --log wandb`);
  }
  if (log.includes('tensorboard') && out === undefined)
    tell('--log tensorboard does nothing without --out');
  if (isWandb) {
    const { wandbSink } = await import('../wandb/sink.ts');
    const environment = {
      ...process.env,
      ...(wandbProject === undefined ? {} : { WANDB_PROJECT: wandbProject }),
      ...(wandbEntity === undefined ? {} : { WANDB_ENTITY: wandbEntity }),
      ...(wandbName === undefined ? {} : { WANDB_NAME: wandbName }),
    };
    sinks.push(wandbSink({ environment, tell }));
  }
  if (log.includes('tensorboard')) {
    const { tensorboardSink } = await import('../tensorboard/sink.ts');
    sinks.push(tensorboardSink());
  }
  return sinks;
}
