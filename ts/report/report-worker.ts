/** Runs as numbers, whose bootstraps take seconds: a worker of {@link offThread}. */

import { serve } from '../threads/off-thread.ts';
import type { ReportedRun } from './reported-run.ts';
import { type Report, reportOf } from './run-report.ts';

await serve<readonly ReportedRun[], Report>(reportOf);
