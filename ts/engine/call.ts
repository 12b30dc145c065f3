/**
 * What the caller of a long piece of work brings along: a signal that stops it, an ear for its
 * progress.
 */

export interface Progress {
  readonly activity:
    | 'downloading'
    | 'uploading'
    | 'hashing'
    | 'reading'
    | 'encoding'
    | 'predicting'
    | 'saving';
  /** The repository that bytes come from or go to. */
  readonly subject?: string;
  /** What `done` and `total` count. */
  readonly unit: 'bytes' | 'rows' | 'tensors';
  readonly done: number;
  /** Null where it is not known before the end. */
  readonly total: number | null;
}

export interface CallOptions {
  /**
   * Stops the work between two layers or pieces; the call then rejects with `BPEFT_ABORTED`, an
   * error whose `name` is `AbortError` and whose `cause` is the signal's reason.
   */
  readonly signal?: AbortSignal | undefined;
  /** Only listens: one that throws is named in a warning of the process, and the work goes on. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Tells of work that is too short for news from within: when it begins, and when it has ended. */
export async function told<T>(
  { onProgress }: CallOptions,
  what: Pick<Progress, 'activity' | 'unit'> & { readonly total: number },
  work: () => Promise<T>,
): Promise<T> {
  const tell = teller(onProgress);
  tell({ ...what, done: 0 });
  const outcome = await work();
  tell({ ...what, done: what.total });
  return outcome;
}

export function teller(onProgress: CallOptions['onProgress']): (progress: Progress) => void {
  return isolated('onProgress', onProgress);
}

/** A listener that cannot end the work; of its failures the first is told. */
export function isolated<T>(
  name: string,
  listener: ((news: T) => void) | undefined,
): (news: T) => void {
  let hasFailed = false;
  return (news) => {
    try {
      listener?.(news);
    } catch (error) {
      if (hasFailed) return;
      hasFailed = true;
      const reason = error instanceof Error ? error.message : String(error);
      process.emitWarning(`${name} failed, and the work goes on: ${reason}`, {
        code: 'BPEFT_SINK_FAILED',
      });
    }
  };
}
