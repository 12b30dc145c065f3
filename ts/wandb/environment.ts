/** W&B's environment variables, with the client's meanings. */

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { BpeftError } from '../errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export type WandbMode = 'online' | 'offline' | 'disabled';
export type ResumeMode = 'allow' | 'must' | 'never' | 'auto';

export interface WandbSettings {
  readonly mode: WandbMode;
  /** The folder that holds `wandb/`; null: the run's own. */
  readonly dir: string | null;
  readonly baseUrl: string;
  readonly project: string;
  readonly entity: string | null;
  readonly name: string | null;
  readonly notes: string | null;
  readonly tags: readonly string[];
  readonly group: string | null;
  readonly jobType: string | null;
  readonly runId: string | null;
  readonly resume: ResumeMode | null;
  readonly sweepId: string | null;
  readonly isSilent: boolean;
  readonly isQuiet: boolean;
  /** How long the server may take to answer the first call. */
  readonly initTimeoutMs: number;
}

const BASE_URL = 'https://api.wandb.ai';
const MODES: Readonly<Record<string, WandbMode>> = {
  online: 'online',
  run: 'online',
  shared: 'online',
  offline: 'offline',
  dryrun: 'offline',
  disabled: 'disabled',
};
const RESUMES: readonly ResumeMode[] = ['allow', 'must', 'never', 'auto'];
/** A run's id is part of file names and addresses. */
const RUN_ID = /^[A-Za-z0-9_-]{1,64}$/;
const INIT_TIMEOUT_S = 90;

/** Whether the environment asks for W&B by itself: a mode, or a sweep's agent that started us. */
export function asksForWandb(environment: Environment): boolean {
  const mode = environment.WANDB_MODE ?? '';
  return (mode !== '' && MODES[mode] !== 'disabled') || (environment.WANDB_SWEEP_ID ?? '') !== '';
}

/** @throws {BpeftError} `BPEFT_USAGE`: a variable has a value that it cannot have */
export function wandbSettings(environment: Environment): WandbSettings {
  const text = (name: string) => environment[name]?.trim() || null;
  const resume = text('WANDB_RESUME');
  return {
    mode: mode(text('WANDB_MODE')),
    dir: text('WANDB_DIR'),
    baseUrl: baseUrl(text('WANDB_BASE_URL') ?? BASE_URL),
    project: text('WANDB_PROJECT') ?? 'bpeft',
    entity: text('WANDB_ENTITY'),
    name: text('WANDB_NAME'),
    notes: text('WANDB_NOTES'),
    tags: (text('WANDB_TAGS') ?? '')
      .split(',')
      .map((tag) => tag.trim())
      .filter((tag) => tag !== ''),
    group: text('WANDB_RUN_GROUP'),
    jobType: text('WANDB_JOB_TYPE'),
    runId: runId(text('WANDB_RUN_ID')),
    resume: resume === null ? null : oneOf('WANDB_RESUME', resume, RESUMES),
    sweepId: text('WANDB_SWEEP_ID'),
    isSilent: isTrue(text('WANDB_SILENT')),
    isQuiet: isTrue(text('WANDB_QUIET')),
    initTimeoutMs: 1000 * seconds('WANDB_INIT_TIMEOUT', text('WANDB_INIT_TIMEOUT'), INIT_TIMEOUT_S),
  };
}

/** How the server knows us; never to be logged. */
export type Credentials =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'token'; readonly token: string };

/** From WANDB_API_KEY, WANDB_IDENTITY_TOKEN_FILE, or the netrc file; null without any. */
export function credentials(environment: Environment, server: string): Credentials | null {
  const key = environment.WANDB_API_KEY?.trim();
  if (key) return { kind: 'key', key };
  const file = environment.WANDB_IDENTITY_TOKEN_FILE?.trim();
  if (file) {
    const token = read(file)?.trim();
    if (!token) {
      throw new BpeftError(
        'BPEFT_USAGE',
        `WANDB_IDENTITY_TOKEN_FILE must name a file with a token, got ${file}`,
      );
    }
    return { kind: 'token', token };
  }
  const password = netrcPassword(
    read(environment.NETRC ?? join(homedir(), '.netrc')) ?? '',
    new URL(server).hostname,
  );
  return password === null ? null : { kind: 'key', key: password };
}

/** The password of a machine's entry; `default` counts for every machine. */
export function netrcPassword(netrc: string, machine: string): string | null {
  const words = netrc.replace(/#.*$/gm, '').split(/\s+/);
  let isOurs = false;
  for (const [index, word] of words.entries()) {
    if (word === 'machine') isOurs = words[index + 1] === machine;
    else if (word === 'default') isOurs = true;
    else if (word === 'password' && isOurs) return words[index + 1] ?? null;
  }
  return null;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function mode(text: string | null): WandbMode {
  if (text === null) return 'online';
  return MODES[oneOf('WANDB_MODE', text, Object.keys(MODES))] ?? 'online';
}

function runId(text: string | null): string | null {
  if (text === null || RUN_ID.test(text)) return text;
  throw refused('WANDB_RUN_ID', 'at most 64 letters, digits, - and _', text);
}

function baseUrl(text: string): string {
  const isAddress = URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol);
  if (isAddress) return text.replace(/\/+$/, '');
  throw refused('WANDB_BASE_URL', 'an http or https address', text.replace(/\/\/.*@/, '//…@'));
}

function seconds(name: string, text: string | null, byDefault: number): number {
  const value = text === null ? byDefault : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw refused(name, 'a positive number of seconds', text ?? '');
}

function oneOf<T extends string>(name: string, text: string, known: readonly T[]): T {
  const found = known.find((one) => one === text);
  if (found === undefined) throw refused(name, `one of ${known.join(', ')}`, text);
  return found;
}

function isTrue(text: string | null): boolean {
  return text !== null && !['false', '0', 'no', 'off'].includes(text.toLowerCase());
}

function refused(name: string, rule: string, got: string): BpeftError {
  return new BpeftError('BPEFT_USAGE', `${name} must be ${rule}, got ${JSON.stringify(got)}`);
}
