/**
 * What a launcher says of this process: the variables of torchrun, which Slurm's and Kubernetes'
 * recipes for PyTorch set as well; and how long ranks wait for each other: `BPEFT_MEET_SECONDS` at
 * the start, `BPEFT_SILENCE_SECONDS` later.
 */

import { checkedRanks, type Ranks } from '../../engine/group.ts';
import { BpeftError } from '../../errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The place of this process; undefined: it trains alone.
 * @throws {BpeftError} `BPEFT_USAGE`: a variable is missing or has a value that it cannot have.
 */
export function launchedRanks(environment: Environment): Ranks | undefined {
  const { WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR = '' } = environment;
  if (WORLD_SIZE === undefined || WORLD_SIZE === '' || WORLD_SIZE === '1') return undefined;
  const worldSize = wholeNumber('WORLD_SIZE', WORLD_SIZE);
  const rank = wholeNumber('RANK', RANK);
  const localRank = LOCAL_RANK === undefined ? 0 : wholeNumber('LOCAL_RANK', LOCAL_RANK);
  const port = wholeNumber('MASTER_PORT', environment.MASTER_PORT);
  // torchrun's own store listens at its port then.
  const isTaken = environment.TORCHELASTIC_USE_AGENT_STORE === 'True';
  const masterPort = isTaken ? port + 1 : port;
  return checkedRanks({
    ...{ rank, worldSize, localRank, masterAddr: MASTER_ADDR, masterPort },
    ...seconds('meetSeconds', 'BPEFT_MEET_SECONDS', environment),
    ...seconds('silenceSeconds', 'BPEFT_SILENCE_SECONDS', environment),
  });
}

function seconds(
  key: 'meetSeconds' | 'silenceSeconds',
  name: string,
  environment: Environment,
): Partial<Ranks> {
  const text = environment[name];
  return text === undefined ? {} : { [key]: wholeNumber(name, text) };
}

function wholeNumber(name: string, text: string | undefined): number {
  if (text !== undefined && /^\d{1,9}$/.test(text)) return Number(text);
  const got = text === undefined ? 'nothing' : JSON.stringify(text);
  throw new BpeftError('BPEFT_USAGE', `${name} must be a whole number, got ${got}`, {
    hint: 'launchers set WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; to train alone, unset WORLD_SIZE',
  });
}
