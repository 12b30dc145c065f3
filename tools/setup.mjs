// npm run setup: everything a checkout needs; safe to repeat.

import { setUp } from './steps.mjs';

process.exitCode = setUp() ? 0 : 1;
