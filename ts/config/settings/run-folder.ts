/** Where the outcome goes, and what may be there already. */

import { z } from 'zod';
import { type Facts, name, setting } from '../setting.ts';
import { folderName } from '../standard-output.ts';

const FACTS = {
  group: 'Run folder',
  decides: 'nothing',
  recorded: 'nothing',
  isInherited: false,
} as const satisfies Facts;

const isAsked = z.boolean().default(false);

export const RUN_FOLDER = {
  out: setting(
    'where the outcome goes',
    {
      train: folderName
        .optional()
        .describe('run folder (default: runs/<method>-<dataset>-seed<seed>)'),
      bayesianize: folderName.optional().describe('folder for the adapter'),
      eval: folderName
        .optional()
        .describe('folder for result.json and predictions/ (default: write no files)'),
      predict: name.optional().describe('output file; - is standard output (default)'),
      demo: folderName.default('runs/demo').describe('folder for the run folders mle and blob'),
    },
    { ...FACTS, placeholder: 'path' },
  ),
  resume: setting("continue the folder's run from its last checkpoint", { train: isAsked }, FACTS),
  overwrite: setting(
    'replace what the folder holds',
    {
      train: isAsked.describe('replace the run that the folder holds'),
      bayesianize: isAsked.describe('replace the adapter that the folder holds'),
      eval: isAsked.describe('replace the evaluation that the folder holds'),
      predict: isAsked.describe('replace the output file'),
      demo: isAsked.describe('train again even if the folder holds finished runs'),
    },
    FACTS,
  ),
  dryRun: setting(
    'write nothing: resolve, tokenise, run one step, print the plan',
    { train: isAsked },
    FACTS,
  ),
};
