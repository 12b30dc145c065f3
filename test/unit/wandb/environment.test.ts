import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  asksForWandb,
  credentials,
  netrcPassword,
  wandbSettings,
} from '../../../ts/wandb/environment.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

it('reads every variable of the run', () => {
  const settings = wandbSettings({
    ...{
      WANDB_MODE: 'dryrun',
      WANDB_DIR: '/d',
      WANDB_BASE_URL: 'http://here:8080/',
      WANDB_PROJECT: 'p',
    },
    ...{
      WANDB_ENTITY: 'e',
      WANDB_NAME: 'n',
      WANDB_NOTES: 'o',
      WANDB_TAGS: 'a, b,',
      WANDB_RUN_GROUP: 'g',
    },
    ...{ WANDB_JOB_TYPE: 'j', WANDB_RUN_ID: 'id-1', WANDB_RESUME: 'must', WANDB_SWEEP_ID: 's' },
    ...{ WANDB_SILENT: 'true', WANDB_QUIET: '1', WANDB_INIT_TIMEOUT: '5' },
  });
  expect(settings).toEqual({
    ...{
      mode: 'offline',
      dir: '/d',
      baseUrl: 'http://here:8080',
      project: 'p',
      entity: 'e',
      name: 'n',
    },
    ...{
      notes: 'o',
      tags: ['a', 'b'],
      group: 'g',
      jobType: 'j',
      runId: 'id-1',
      resume: 'must',
      sweepId: 's',
    },
    ...{ isSilent: true, isQuiet: true, initTimeoutMs: 5000 },
  });
});

it.each([
  [{}, false],
  [{ WANDB_API_KEY: 'k' }, false],
  [{ WANDB_MODE: 'disabled' }, false],
  [{ WANDB_MODE: 'offline' }, true],
  [{ WANDB_MODE: 'online' }, true],
  [{ WANDB_SWEEP_ID: 's' }, true],
])('is asked for by %o: %s', (environment, isAsked) => {
  expect(asksForWandb(environment)).toBe(isAsked);
});

it.each([
  [
    { WANDB_MODE: 'on' },
    'WANDB_MODE must be one of online, run, shared, offline, dryrun, disabled, got "on"',
  ],
  [{ WANDB_RESUME: 'yes' }, 'WANDB_RESUME must be one of allow, must, never, auto, got "yes"'],
  [
    { WANDB_RUN_ID: '../up' },
    'WANDB_RUN_ID must be at most 64 letters, digits, - and _, got "../up"',
  ],
  [
    { WANDB_INIT_TIMEOUT: '-1' },
    'WANDB_INIT_TIMEOUT must be a positive number of seconds, got "-1"',
  ],
  [
    { WANDB_BASE_URL: 'ftp://me:secret@h' },
    'WANDB_BASE_URL must be an http or https address, got "ftp://…@h"',
  ],
])('refuses %o', (environment, message) => {
  expect(() => wandbSettings(environment)).toThrow(
    expect.objectContaining({ code: 'BPEFT_USAGE', message }),
  );
});

it('takes the key from the variable, the token file or the netrc file', () => {
  const folder = temporaryFolder();
  const [token, netrc] = [join(folder, 'token'), join(folder, 'netrc')];
  writeFileSync(token, 'ey.token\n');
  writeFileSync(
    netrc,
    'machine other login user password no\nmachine api.wandb.ai\n  login user\n  password yes\n',
  );
  const server = 'https://api.wandb.ai';
  expect(credentials({ WANDB_API_KEY: 'k', NETRC: netrc }, server)).toEqual({
    kind: 'key',
    key: 'k',
  });
  expect(credentials({ WANDB_IDENTITY_TOKEN_FILE: token }, server)).toEqual({
    kind: 'token',
    token: 'ey.token',
  });
  expect(credentials({ NETRC: netrc }, server)).toEqual({ kind: 'key', key: 'yes' });
  expect(credentials({ NETRC: join(folder, 'none') }, server)).toBeNull();
});

it.each([
  ['machine a login user password one', 'a', 'one'],
  ['machine a login user password one\ndefault login user password two', 'b', 'two'],
  ['# machine a password one', 'a', null],
  ['machine a password', 'a', null],
])('finds in netrc %j for %s: %s', (text, machine, password) => {
  expect(netrcPassword(text, machine) || null).toBe(password);
});
