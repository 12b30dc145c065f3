/** What W&B is told of a run: who it is, and its rows of values. */

/** One row of a history, or the last values of a summary. */
export type Row = Readonly<Record<string, unknown>>;

export interface RunIdentity {
  readonly id: string;
  readonly project: string;
  readonly entity: string | null;
  /** As shown. */
  readonly name: string;
  readonly notes: string | null;
  readonly tags: readonly string[];
  readonly group: string | null;
  readonly jobType: string | null;
  readonly sweepId: string | null;
  /** `_step` of the first row; above 0 for a run that goes on. */
  readonly startingStep: number;
  readonly startTimeMs: number;
}
