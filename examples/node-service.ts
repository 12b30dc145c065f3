/**
 * A service that answers with probabilities and says when it is not sure.
 *
 * Two trained runs stay in memory, each model on its own thread, so that a long answer of one never
 * holds up the other, nor the event loop. A client that hangs up stops the work between two layers.
 *
 *   POST /<name>   {"question": "…", "choices": ["…", "…"]}
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { BpeftError, openPredictor, type Prediction, type Predictor, type PredictRow } from 'bpeft';

/** Above this share of the largest possible entropy the service does not commit itself. */
const ABSTAIN_ABOVE = 0.8;

export interface Answer {
  readonly prediction: string;
  readonly probs: readonly number[];
  /** Share of the uncertainty that more training data could settle; null for a point adapter. */
  readonly epistemic: number | null;
  readonly abstain: boolean;
}

export interface Service extends AsyncDisposable {
  readonly server: Server;
}

/** @param runs name → folder of a finished run */
export async function startService(
  runs: Readonly<Record<string, string>>,
  port: number,
): Promise<Service> {
  const predictors = new Map<string, Predictor>();
  for (const [name, run] of Object.entries(runs)) {
    predictors.set(name, await openPredictor({ run, samples: 10, maxSeqLen: 1000 }));
  }
  const server = createServer((request, response) => {
    void handle(predictors, request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    server,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      for (const predictor of predictors.values()) await predictor.dispose();
    },
  };
}

async function handle(
  predictors: ReadonlyMap<string, Predictor>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const hangUp = new AbortController();
  response.on('close', () => hangUp.abort());
  try {
    const predictor = predictors.get((request.url ?? '/').slice(1));
    if (request.method !== 'POST' || predictor === undefined)
      return send(response, 404, { error: 'unknown run' });
    // what is wrong with it, predict says
    const row = JSON.parse(await body(request)) as PredictRow;
    const [prediction] = await predictor.predict([row], { signal: hangUp.signal });
    if (prediction === undefined) return send(response, 400, { error: 'no row' });
    send(response, 200, answer(prediction));
  } catch (error) {
    const known = error instanceof BpeftError ? error : null;
    if (known?.code === 'BPEFT_ABORTED') return; // nobody listens any more
    send(response, known === null ? 400 : 422, {
      error: known?.message ?? String(error),
      code: known?.code,
    });
  }
}

function answer({ prediction, probs, entropy, mutualInformation }: Prediction): Answer {
  return {
    prediction,
    probs,
    epistemic:
      mutualInformation === null ? null : mutualInformation / Math.max(entropy, Number.EPSILON),
    abstain: entropy > ABSTAIN_ABOVE * Math.log(probs.length),
  };
}

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, content: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}
