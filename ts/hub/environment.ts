/** The Hub's environment variables, with the meanings of Python's `huggingface_hub`. */

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { BpeftError } from '../errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface Hub {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** Holds one folder for each repository. */
  readonly cache: string;
  /** Sent to the endpoint only, never logged; null: anonymous. */
  readonly token: string | null;
  /** Nothing is asked of the network. */
  readonly isOffline: boolean;
}

const ENDPOINT = 'https://huggingface.co';
const YES = ['1', 'ON', 'YES', 'TRUE'];

/** @throws {BpeftError} `BPEFT_USAGE`: HF_ENDPOINT is no address */
export function hubFrom(environment: Environment): Hub {
  const text = (name: string) => environment[name]?.trim() || undefined;
  const isSet = (name: string) => YES.includes(text(name)?.toUpperCase() ?? '');
  const general = text('XDG_CACHE_HOME') ?? join(homedir(), '.cache');
  const home = path(text('HF_HOME')) ?? join(general, 'huggingface');
  const cache = text('HF_HUB_CACHE') ?? text('HUGGINGFACE_HUB_CACHE');
  const stored = path(text('HF_TOKEN_PATH')) ?? join(home, 'token');
  return {
    endpoint: address(text('HF_ENDPOINT') ?? ENDPOINT),
    cache: path(cache) ?? join(home, 'hub'),
    token:
      text('HF_TOKEN') ?? (isSet('HF_HUB_DISABLE_IMPLICIT_TOKEN') ? null : storedToken(stored)),
    isOffline: isSet('HF_HUB_OFFLINE') || isSet('TRANSFORMERS_OFFLINE'),
  };
}

/** What `hf auth login` has written. */
function storedToken(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim() || null;
  } catch {
    return null;
  }
}

function path(text: string | undefined): string | undefined {
  return text?.replace(/^~(?=\/|$)/, homedir());
}

function address(text: string): string {
  const isAddress = URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol);
  if (isAddress) return text.replace(/\/+$/, '');
  const got = JSON.stringify(text.replace(/\/\/.*@/, '//…@'));
  throw new BpeftError('BPEFT_USAGE', `HF_ENDPOINT must be an http or https address, got ${got}`);
}
