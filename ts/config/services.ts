/** Services that a run is also written to. */

export const SERVICES = ['wandb', 'tensorboard'] as const;
export type Service = (typeof SERVICES)[number];

export interface ServiceSettings {
  readonly log?: readonly Service[] | undefined;
  readonly wandbProject?: string | undefined;
  readonly wandbEntity?: string | undefined;
  readonly wandbName?: string | undefined;
}
