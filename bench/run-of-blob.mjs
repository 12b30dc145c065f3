// The runs that are measured: BLoB on q, v and the head of a decoder, as published, and on query
// and value of an encoder, whose head is trained.

export function blobAdapter(model, rank) {
  return model.createAdapter({
    ...{ rank, alpha: 16, dropout: 0, seed: 1 },
    targetModules: ['q_proj', 'v_proj', 'lm_head'],
    posterior: { sigma: 'square', initEps: 0.05 },
  });
}

export function encoderAdapter(model) {
  return model.createAdapter({
    ...{ rank: 8, alpha: 8, dropout: 0, seed: 1 },
    targetModules: ['query', 'value'],
    posterior: { sigma: 'square', initEps: 0.05 },
    head: { classes: 2, trained: true },
  });
}

/** `Trainer` is that of the build that is measured; `updates` is the length of the schedule. */
export function blobTrainer(Trainer, model, adapter, { updates, keptBytes }) {
  return Trainer.create(model, adapter, {
    seed: 1,
    method: {
      id: 'blob',
      point: {
        lr: 1e-4,
        schedule: { total: updates, warmup: 0, warmupStart: 0, stride: 1 },
        weightDecay: 0,
        adamEpsilon: 1e-6,
        maxGradNorm: 0,
      },
      priorStd: 0.2,
      klForm: 'exact',
      klLr: 0.01,
      klCycle: { kind: 'pulse', length: 100 },
      trainSamples: 1,
      average: 'logits',
      noise: 'token',
    },
    keptBytes,
  });
}
