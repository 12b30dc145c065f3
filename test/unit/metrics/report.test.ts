import { expect, it } from 'vitest';
import { metricsReport } from '../../../ts/metrics/report.ts';

const row = (certainty: number, isRight: boolean, mutualInformation: number | null = null) => ({
  ...{ probs: [certainty, 1 - certainty], mutualInformation },
  label: isRight ? 0 : 1,
});

it('has null for what the rows do not tell, and never NaN', () => {
  const { n, metrics, reliability } = metricsReport([]);
  expect([n, reliability]).toEqual([0, null]);
  expect(new Set(Object.values(metrics))).toEqual(new Set([null]));

  const unlabelled = metricsReport([{ probs: [0.75, 0.25], label: null, mutualInformation: 0.1 }]);
  const told = Object.entries(unlabelled.metrics).filter(([, value]) => value !== null);
  expect(told.map(([id]) => id)).toEqual(['entropy', 'mutualInformation']);
  expect(unlabelled.reliability).toBeNull();

  // Telling wrong from right needs some of both, and of each the score.
  expect(metricsReport([row(0.7, false), row(0.8, false)]).metrics.errorAurocEntropy).toBeNull();
  expect(metricsReport([row(0.7, true), row(0.8, true)]).metrics.errorFpr95Entropy).toBeNull();
  for (const [wrong, right] of [
    [null, 0.1],
    [0.1, null],
  ] as const) {
    const { mutualInformation, errorAurocMutualInformation, errorAurocEntropy } = metricsReport([
      row(0.7, false, wrong),
      row(0.8, true, right),
    ]).metrics;
    expect([mutualInformation, errorAurocMutualInformation, errorAurocEntropy]).toEqual([
      null,
      null,
      1,
    ]);
  }
});

it('says of every metric what it is', () => {
  const { definitions, metrics } = metricsReport([row(0.7, true)], {
    bins: 10,
    mean: 'batches',
    batchSize: 4,
  });
  expect(Object.keys(definitions)).toEqual(Object.keys(metrics));
  expect(definitions).toMatchInlineSnapshot(`
    {
      "acc": "share of rows whose most probable class (of equals the first) is the label",
      "adaptiveEce": "sum over 10 groups of equally many rows, by confidence, of n_group/n * |accuracy - mean confidence|",
      "aurc": "mean over j of the error rate among the j most confident rows",
      "brier": "sum over classes of (probability - 1[class = label])^2, 0 to 2; unweighted mean of batch means",
      "classwiseEce": "mean over classes of the sum over bins of n_bin/n * |frequency - mean probability| of the class; 10 equal bins as for ece",
      "conformalApsCoverage": "share of rows whose APS set holds the label; split-conformal at 0.9, calibrated on a random half, mean over 20 splits",
      "conformalApsSize": "mean number of classes in the APS set; split-conformal at 0.9, calibrated on a random half, mean over 20 splits",
      "conformalLacCoverage": "share of rows whose LAC set holds the label; split-conformal at 0.9, calibrated on a random half, mean over 20 splits",
      "conformalLacSize": "mean number of classes in the LAC set; split-conformal at 0.9, calibrated on a random half, mean over 20 splits",
      "debiasedEce": "root of the sum over bins of n_bin/n * ((accuracy - mean confidence)^2 - accuracy * (1 - accuracy) / (n_bin - 1)), 0 where that is negative; 10 equal bins as for ece, those of one row left out",
      "eAurc": "aurc minus that of an order which has every right answer before every wrong one",
      "ece": "sum over confidence bins of n_bin/n * |accuracy - mean confidence|; 10 equal bins on [0, 1], left-closed, confidence 1.0 in an extra bin (torchmetrics, l1)",
      "eceNoiseFloor": "mean ECE of a perfectly calibrated model with the same confidences on the same number of rows",
      "entropy": "mean over rows of the entropy of the mean probabilities, nats",
      "errorAurocEntropy": "probability that one of the wrong answers has a higher score than one of the right answers, ties count half; 0.5 is chance; score: the entropy of the mean probabilities",
      "errorAurocMaxProbability": "probability that one of the wrong answers has a higher score than one of the right answers, ties count half; 0.5 is chance; score: 1 - the largest probability",
      "errorAurocMutualInformation": "probability that one of the wrong answers has a higher score than one of the right answers, ties count half; 0.5 is chance; score: the mutual information",
      "errorFpr95Entropy": "share of right answers flagged where the score flags 95 % of wrong answers, equal scores together; score: the entropy of the mean probabilities",
      "errorFpr95MaxProbability": "share of right answers flagged where the score flags 95 % of wrong answers, equal scores together; score: 1 - the largest probability",
      "errorFpr95MutualInformation": "share of right answers flagged where the score flags 95 % of wrong answers, equal scores together; score: the mutual information",
      "f1": "of two classes, F1 of the second: 2 TP / (predicted + labelled); else null",
      "macroF1": "mean of F1 over the classes that are some row's label or prediction; null if rows' classes differ",
      "mcc": "Matthews' correlation of label and most probable class, -1 to 1; null if rows' classes differ",
      "mutualInformation": "mean over rows of (entropy of the mean probabilities - mean entropy of the samples), nats",
      "nll": "-ln of the mean probability of the label, nats, not clamped; unweighted mean of batch means",
      "overconfidence": "mean confidence minus accuracy; positive where the model is surer than right",
      "selectiveAccuracy50": "accuracy on the 50 % of rows of the highest confidence",
      "selectiveAccuracy80": "accuracy on the 80 % of rows of the highest confidence",
      "selectiveAccuracy90": "accuracy on the 90 % of rows of the highest confidence",
    }
  `);
});
