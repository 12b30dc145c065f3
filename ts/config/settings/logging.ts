/** Where a run is also written to. */

import { z } from 'zod';
import { SERVICES } from '../services.ts';
import { type Facts, inAll, name, setting } from '../setting.ts';

const FACTS = {
  group: 'Logging',
  decides: 'nothing',
  recorded: 'nothing',
  isInherited: false,
} as const satisfies Facts;

const logged = <S extends z.ZodType>(what: string, schema: S) =>
  setting(what, inAll(['train', 'eval'], schema), FACTS);

export const LOGGING = {
  log: logged(
    'also write to wandb (as the WANDB_* variables say) or tensorboard',
    z.array(z.enum(SERVICES)).min(1).optional(),
  ),
  wandbProject: logged('W&B project (default: WANDB_PROJECT, or bpeft)', name.optional()),
  wandbEntity: logged('W&B user or team (default: WANDB_ENTITY, or your own)', name.optional()),
  wandbName: logged("W&B run name (default: WANDB_NAME, or the run folder's)", name.optional()),
};
