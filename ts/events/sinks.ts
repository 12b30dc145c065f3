/**
 * Who hears a run's events: sinks (console, files, services), each with a life of its own.
 *
 * A sink only listens. One that throws, rejects or never closes is named in one warning, to the
 * other sinks and as a warning of the process, and the run goes on.
 */

import { asBpeftError, spoken } from '../errors.ts';
import type { RunEvent } from './run-event.ts';

/** How the work ended that a sink listened to. */
export type Outcome =
  | { readonly status: 'finished' }
  | { readonly status: 'aborted' | 'failed'; readonly error: unknown };

export interface Sink {
  /** For the warning about a sink that fails; `a sink` unless given. */
  readonly name?: string | undefined;
  /** Called in order; what it returns is not waited for. */
  event(event: RunEvent): unknown;
  /** Called once, after the last event; the run waits for it, for at most ten seconds. */
  close?(outcome: Outcome): Promise<void> | void;
}

/** A function is a sink that has nothing to close. */
export type Listener = (event: RunEvent) => unknown;

const CLOSE_LIMIT_MS = 10_000;

export interface SinksOptions {
  /** Whether events wait until `run-started` has been sent, so that it is the first. */
  readonly areHeldUntilStart?: boolean;
  readonly closeLimitMs?: number;
}

/** The sinks of one piece of work, kept apart from it and from each other. */
export class Sinks implements Sink {
  readonly #sinks: Sink[];
  readonly #failed = new Set<Sink>();
  readonly #closeLimitMs: number;
  /** Events that wait for the start; null once it came, or where none is waited for. */
  #held: RunEvent[] | null;

  constructor(sinks: readonly (Sink | Listener | undefined)[], options: SinksOptions = {}) {
    this.#sinks = sinks.filter((sink) => sink !== undefined).map(asSink);
    this.#closeLimitMs = options.closeLimitMs ?? CLOSE_LIMIT_MS;
    this.#held = options.areHeldUntilStart === true ? [] : null;
  }

  /** Adds one that hears every later event. */
  add(sink: Sink): void {
    this.#sinks.push(sink);
  }

  readonly event = (event: RunEvent): void => {
    if (this.#held === null) {
      this.#send(event, null);
    } else if (event.type === 'run-started') {
      const held = this.#held;
      this.#held = null;
      for (const one of [event, ...held]) this.#send(one, null);
    } else {
      this.#held.push(event);
    }
  };

  /** Tells every sink how it ended, and waits for them. It never rejects. */
  async close(outcome: Outcome): Promise<void> {
    const held = this.#held ?? [];
    this.#held = null;
    for (const event of held) this.#send(event, null);
    await Promise.all(this.#sinks.map((sink) => this.#closeOne(sink, outcome)));
  }

  #send(told: RunEvent, except: Sink | null): void {
    const event = told.type === 'warning' ? { ...told, message: spoken(told.message) } : told;
    for (const sink of this.#sinks) {
      if (sink === except) continue;
      try {
        const returned = sink.event(event);
        if (returned instanceof Promise) returned.catch((error) => this.#blame(sink, error));
      } catch (error) {
        this.#blame(sink, error);
      }
    }
  }

  async #closeOne(sink: Sink, outcome: Outcome): Promise<void> {
    if (sink.close === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`close did not end within ${this.#closeLimitMs} ms`);
      timer = setTimeout(() => reject(error), this.#closeLimitMs);
    });
    try {
      await Promise.race([sink.close(outcome), late]);
    } catch (error) {
      this.#blame(sink, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** One warning per sink, however often it fails. */
  #blame(sink: Sink, error: unknown): void {
    if (this.#failed.has(sink)) return;
    this.#failed.add(sink);
    const reason = error instanceof Error ? error.message : String(error);
    const message = `${sink.name ?? 'a sink'} failed, and the run goes on without it: ${reason}`;
    process.emitWarning(message, { code: 'BPEFT_SINK_FAILED' });
    this.#send({ type: 'warning', code: 'BPEFT_SINK_FAILED', message }, sink);
  }
}

/** One sink that hands every event to several, each isolated from the others. */
export function broadcast(...sinks: readonly (Sink | Listener | undefined)[]): Sink {
  return new Sinks(sinks);
}

/** Runs `work` with the caller's sink, which hears of its end whatever it is. */
export async function observed<T>(
  sink: Sink | Listener | undefined,
  options: SinksOptions,
  work: (sinks: Sinks) => Promise<T>,
): Promise<T> {
  const sinks = new Sinks([sink], options);
  let outcome: Outcome = { status: 'finished' };
  try {
    return await work(sinks);
  } catch (error) {
    outcome = toldOutcome(sinks, error);
    throw error;
  } finally {
    await sinks.close(outcome);
  }
}

/** How work ended that threw; the sinks hear of it. */
export function toldOutcome(sinks: Sinks, error: unknown): Outcome {
  const { code, message } = asBpeftError(error);
  const isAborted = code === 'BPEFT_ABORTED';
  sinks.event(isAborted ? { type: 'interrupted', message } : { type: 'failed', code, message });
  return { status: isAborted ? 'aborted' : 'failed', error };
}

function asSink(sink: Sink | Listener): Sink {
  return typeof sink === 'function' ? { name: 'onEvent', event: sink } : sink;
}
