/** Where the named datasets are on the Hub, and the tasks of the others there. */

import type { DatasetId } from '../../hub/dataset-id.ts';
import type { TaskFamily } from '../rows/item.ts';
import { GLUE } from './glue.ts';
import { MMLU } from './mmlu.ts';

export interface HubPlace {
  readonly repository: string;
  /** Each split is theirs, one after another. */
  readonly configurations: readonly string[];
  /** Fields whose columns are called otherwise. */
  readonly columns?: readonly string[];
}

const SUPER_GLUE = ['cb', 'wic', 'copa'];

/** A dataset's name → its place; one that is not here is not on the Hub. */
const PLACES: ReadonlyMap<string, HubPlace> = new Map<string, HubPlace>([
  ['ARC-Easy', { repository: 'allenai/ai2_arc', configurations: ['ARC-Easy'] }],
  ['ARC-Challenge', { repository: 'allenai/ai2_arc', configurations: ['ARC-Challenge'] }],
  ['obqa', { repository: 'allenai/openbookqa', configurations: ['main'] }],
  ['commonsense_qa', { repository: 'tau/commonsense_qa', configurations: ['default'] }],
  ['winogrande_s', { repository: 'allenai/winogrande', configurations: ['winogrande_s'] }],
  ['winogrande_m', { repository: 'allenai/winogrande', configurations: ['winogrande_m'] }],
  ['boolq', { repository: 'google/boolq', configurations: ['default'] }],
  ...MMLU.map(({ name, splits }): [string, HubPlace] => [
    name,
    {
      repository: 'cais/mmlu',
      configurations: (splits.test ?? []).map((path) => path.split('/')[1] ?? ''),
    },
  ]),
  ...[...GLUE.map(({ name }) => name), 'copa'].map((name): [string, HubPlace] => [
    name,
    {
      repository: SUPER_GLUE.includes(name) ? 'aps/super_glue' : 'nyu-mll/glue',
      configurations: [name],
      ...(name === 'wic' ? { columns: ['answer=label'] } : {}),
    },
  ]),
]);

/** Whatever the configuration. */
const FAMILIES: Readonly<Record<string, TaskFamily>> = {
  'allenai/ai2_arc': 'arc',
  'allenai/openbookqa': 'openbookqa',
  'tau/commonsense_qa': 'commonsense_qa',
  'allenai/winogrande': 'winogrande',
  'google/boolq': 'boolq',
  'cais/mmlu': 'mmlu',
};

export function hubPlaceOf(name: string): HubPlace | null {
  return PLACES.get(name) ?? null;
}

/** The named dataset that a name on the Hub means, or null. */
export function datasetAt({ repository, configuration }: DatasetId): string | null {
  for (const [name, place] of PLACES) {
    const [first, ...others] = place.configurations;
    const isOnly = configuration === null && first === 'default';
    const isThis = others.length === 0 && (isOnly || configuration === first);
    if (place.repository === repository && isThis) return name;
  }
  return null;
}

/** The task of a dataset that has no name here; null: its rows tell. */
export function familyAt({ repository }: DatasetId): TaskFamily | null {
  return FAMILIES[repository] ?? null;
}
