//! PyTorch's and numpy's numbers, at our noise: `tools/goldens/README.md` says how they were made.
//!
//! Tolerances are those that the goldens support: float32 sums in another order.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use blob_core::adapter::{Posterior, Sigma};
use blob_core::kl::{Dynamics, GaussianKl, KlForm, PriorStd};
use blob_core::layers::Gradients;
use blob_core::method::{BlobConfig, MleConfig};
use blob_core::noise::{Asker, Phase, Purpose, Stream, philox4x32_10};
use blob_core::objective::{Average, CrossEntropy, Objective};
use blob_core::optim::{KlCycle, Schedule};
use blob_core::pass::{Abort, Mode, Pass};
use blob_core::predict::{PredictConfig, predict};
use blob_core::train::{TrainConfig, Trainer};
use serde_json::Value;
use support::golden::{Case, assert_close, assert_near, document, field, named, parameters};

fn asker(case: &Value, purpose: Purpose) -> Asker {
    let sample = case["sample"].as_u64().unwrap_or(0) as u32;
    Asker {
        slot: field(case, "slot"),
        purpose,
        sample,
    }
}

/// The stream of the noise golden's draws; its seed and step need more than 32 bits.
fn golden_stream() -> Stream {
    Stream::new(
        0xfedc_ba98_7654_3210,
        5_000_000_000,
        Phase::Training { micro_batch: 3 },
    )
}

#[test]
fn philox_streams_and_draws_are_numpys_words() {
    let golden = document("noise.json");
    for case in golden["philox"].as_array().unwrap() {
        let words: [u32; 4] = field(case, "words");
        assert_eq!(
            philox4x32_10(field(case, "counter"), field(case, "key")),
            words
        );
    }
    // A stream's key shows in its draws: those of the golden's key are pinned below.
    let draw = &golden["draws"][0];
    let blocks: Vec<[u32; 4]> = field(draw, "words");
    let asker = asker(draw, Purpose::NoiseDropout);
    for (block, expected) in (0..).zip(blocks) {
        let (position, row) = (field(draw, "position"), field(draw, "row"));
        assert_eq!(golden_stream().words(block, position, row, asker), expected);
    }
    for case in golden["stream_keys"].as_array().unwrap() {
        let micro_batch = field(case, "micro_batch");
        let phase = match field::<u32>(case, "phase") {
            0 => Phase::Training { micro_batch },
            1 => Phase::Evaluation,
            _ => Phase::Initialisation,
        };
        let stream = Stream::new(field(case, "seed"), field(case, "step"), phase);
        let by_key = philox4x32_10([1, 2, 3, 4 * 16], field(case, "key"));
        let asker = Asker {
            slot: 4,
            purpose: Purpose::Gaussian,
            sample: 0,
        };
        assert_eq!(stream.words(1, 2, 3, asker), by_key, "{case}");
    }
}

#[test]
fn normals_uniforms_and_signs_are_numpys() {
    let golden = document("noise.json");
    let stream = golden_stream();
    for case in golden["gaussian"].as_array().unwrap() {
        let expected: Vec<f32> = field(case, "values");
        let mut normals = vec![0.0; expected.len()];
        stream.fill_normal(&mut normals, asker(case, Purpose::Gaussian));
        assert_near("gaussian", &normals, &expected, 1e-5);
    }
    for case in golden["signs"].as_array().unwrap() {
        let purpose = match field::<u32>(case, "purpose") {
            1 => Purpose::InputSigns,
            _ => Purpose::RankSigns,
        };
        let mut bits = vec![0; field(case, "count")];
        let (position, row) = (field(case, "position"), field(case, "row"));
        stream.fill_sign_bits(&mut bits, position, row, asker(case, purpose));
        let negative: Vec<usize> = (0..bits.len()).filter(|&i| bits[i] != 0).collect();
        assert_eq!(negative, field::<Vec<usize>>(case, "negative"));
        assert!(bits.iter().all(|bit| matches!(bit, 0 | 0x8000_0000)));
    }
    let case = &golden["initial_a"];
    let bound = 1.0 / field::<f32>(case, "k").sqrt();
    let mut uniforms = vec![0.0; field::<Vec<f32>>(case, "values").len()];
    stream.fill_uniform(
        &mut uniforms,
        (-bound, bound),
        asker(case, Purpose::InitialA),
    );
    assert_near(
        "initial A",
        &uniforms,
        &field::<Vec<f32>>(case, "values"),
        1e-6,
    );
    for (case, sigma) in golden["initial_rho"]
        .as_array()
        .unwrap()
        .iter()
        .zip([Sigma::Square, Sigma::Softplus])
    {
        let interval = sigma.initial(field::<f32>(case, "eps").abs());
        stream.fill_uniform(&mut uniforms, interval, asker(case, Purpose::InitialRho));
        assert_near(
            "initial rho",
            &uniforms,
            &field::<Vec<f32>>(case, "values"),
            1e-6,
        );
    }
}

/// Logits, loss and all gradients of a training case.
fn check_training(name: &str) {
    let case = Case::open(name);
    let (document, batch) = (&case.document, &case.batch);
    let phase = Phase::Training {
        micro_batch: field(document, "micro_batch"),
    };
    let stream = Stream::new(field(document, "seed"), field(document, "step"), phase);
    let draws: Vec<_> = (0..field(document, "samples"))
        .map(|sample| (stream, sample))
        .collect();
    let mode = Mode {
        sampling: case.is_bayesian().then(|| case.noise()),
        ..Mode::MEAN
    };
    let pass = Pass::new(batch, &draws, mode, Abort::default());
    let adapter = &case.adapter;
    let (logits, kept) = case
        .decoder
        .forward(batch, &pass, Some(adapter), true)
        .unwrap();
    assert_close(
        &format!("{name}: logits"),
        &logits,
        case.expected.values("logits"),
        1e-4,
    );

    let objective = CrossEntropy {
        average: Average::Logits,
    };
    let loss = objective
        .evaluate(&logits, batch, 1.0 / batch.len() as f32)
        .unwrap();
    let nll = (loss.nll_sum / batch.len() as f64) as f32;
    assert_close(
        &format!("{name}: nll"),
        &[nll],
        case.expected.values("nll"),
        1e-4,
    );

    let mut gradients = Gradients::new();
    let pass = (&pass, adapter);
    case.decoder
        .backward(kept.unwrap(), &loss.dlogits, batch, pass, &mut gradients)
        .unwrap();
    let gradients = named(&gradients);
    assert!(
        gradients
            .keys()
            .map(String::as_str)
            .eq(case.expected.names("grad.")),
        "{name}"
    );
    for (parameter, gradient) in gradients {
        let expected = case.expected.values(&format!("grad.{parameter}"));
        assert_close(&format!("{name}: {parameter}"), gradient, expected, 1e-4);
    }
}

#[test]
fn maximum_likelihood_has_pytorchs_logits_and_gradients() {
    for case in ["gqa-linear-v", "gqa-tied", "mha-llama3-all"] {
        check_training(&format!("llama-mle-{case}"));
    }
}

#[test]
fn blob_has_pytorchs_logits_and_gradients_under_every_sharing_of_the_noise() {
    for case in [
        "token-gqa-tied",
        "token-gqa-llama3-all",
        "token-mha-linear-v",
        "example-mha",
        "example-gqa-two-samples",
        "shared-mha-tied-linear",
    ] {
        check_training(&format!("llama-blob-{case}"));
    }
}

#[test]
fn predictive_samples_are_pytorchs_and_rows_without_a_label_are_predicted_too() {
    for name in ["llama-eval-token-gqa", "llama-eval-example-mha-tied-all"] {
        let case = Case::open(name);
        let config = PredictConfig {
            samples: field(&case.document, "samples"),
            first_sample: 0,
            noise: case.noise(),
            seed: field(&case.document, "seed"),
            stochastic_layers: None,
        };
        let (adapter, abort) = (Some(&case.adapter), Abort::default());
        let logits = predict(&case.decoder, adapter, &case.batch, &config, &abort).unwrap();
        assert_close(
            &format!("{name}: logits"),
            &logits,
            case.expected.values("logits"),
            1e-4,
        );
    }
}

#[test]
fn a_training_row_without_a_label_is_refused() {
    let case = Case::open("llama-eval-token-gqa");
    let objective = CrossEntropy {
        average: Average::Logits,
    };
    let error = objective
        .evaluate(case.expected.values("logits"), &case.batch, 1.0)
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
}

/// A run of the two optimizers: reports and parameters after each update.
fn check_updates(name: &str) {
    let mut case = Case::open(name);
    let document = &case.document;
    let point = MleConfig {
        lr: field(document, "lr"),
        schedule: Schedule {
            total: field(document, "total_steps"),
            warmup: field(document, "warmup_steps"),
            stride: 1,
        },
        weight_decay: field(document, "weight_decay"),
        adam_epsilon: field(document, "adam_epsilon"),
        max_grad_norm: field(document, "max_grad_norm"),
    };
    let bayes = BlobConfig {
        prior_std: field(document, "prior_std"),
        kl_form: field(document, "kl_form"),
        kl_lr: field(document, "kl_lr"),
        kl_cycle: KlCycle::Pulse {
            length: field(document, "kl_cycle"),
        },
        train_samples: 1,
        average: Average::Logits,
        noise: case.noise(),
    };
    let config = TrainConfig {
        seed: field(document, "seed"),
        point,
        bayes: Some(bayes),
    };
    assert_eq!(
        case.adapter.config().posterior,
        Some(Posterior {
            sigma: case.sigma(),
            init_eps: 0.05
        })
    );
    let mut trainer = Trainer::new(config, &case.adapter).unwrap();
    let batches = [case.batch.clone()];
    let snapshots: Vec<u64> = field(document, "snapshots");
    for record in document["records"].as_array().unwrap() {
        let report = trainer
            .step(
                &case.decoder,
                &mut case.adapter,
                &batches,
                &Abort::default(),
            )
            .unwrap();
        let update = &report.update;
        assert_eq!(report.step, field::<u64>(record, "update"));
        for (number, got) in [
            ("nll", report.nll),
            ("kl", update.kl.unwrap()),
            ("kl_weight", update.kl_weight.unwrap()),
            ("grad_norm", update.grad_norm),
            ("lr", update.lr),
            ("kl_lr", update.kl_lr.unwrap()),
        ] {
            let expected: f64 = field(record, number);
            assert!(
                (got - expected).abs() <= 1e-5 * expected.abs(),
                "{name}, update {}: {number} is {got}, expected {expected}",
                report.step
            );
        }
        if snapshots.contains(&report.step) {
            for (parameter, values) in parameters(&case.adapter) {
                let expected = case
                    .expected
                    .values(&format!("update.{}.{parameter}", report.step));
                // Adam amplifies rounding where a gradient is small.
                assert_near(&format!("{name}: {parameter}"), values, expected, 2e-5);
            }
        }
    }
}

#[test]
fn both_optimizers_move_the_parameters_as_pytorchs_do() {
    for case in [
        "one",
        "three",
        "two-exact",
        "three-softplus",
        "three-clipped",
        "three-decayed",
    ] {
        check_updates(&format!("update-{case}"));
    }
}

/// σ and the shrinkage of the mean that were published: for the rescaled cycle on one and two
/// processes, then for the plain one.
const PUBLISHED: [(&str, [(f64, f64); 4]); 6] = [
    (
        "winogrande_s",
        [
            (0.1867, 0.131),
            (0.1867, 0.131),
            (0.1994, 0.018),
            (0.1994, 0.018),
        ],
    ),
    (
        "ARC-Challenge",
        [
            (0.1743, 0.200),
            (0.1749, 0.197),
            (0.1912, 0.100),
            (0.1913, 0.100),
        ],
    ),
    (
        "ARC-Easy",
        [
            (0.1523, 0.304),
            (0.1526, 0.303),
            (0.1444, 0.338),
            (0.1445, 0.338),
        ],
    ),
    (
        "winogrande_m",
        [
            (0.1476, 0.325),
            (0.1480, 0.323),
            (0.1321, 0.392),
            (0.1323, 0.391),
        ],
    ),
    (
        "obqa",
        [
            (0.1221, 0.434),
            (0.1225, 0.432),
            (0.0705, 0.660),
            (0.0706, 0.659),
        ],
    ),
    (
        "boolq",
        [
            (0.0981, 0.537),
            (0.0983, 0.536),
            (0.0303, 0.852),
            (0.0303, 0.852),
        ],
    ),
];

#[test]
fn the_kl_alone_carries_sigma_and_the_mean_where_the_reference_ends() {
    let golden = document("kl-dynamics.json");
    let settings = &golden["settings"];
    let prior = PriorStd::new(field(settings, "prior_std")).unwrap();
    let runs = golden["runs"].as_array().unwrap();
    let published = PUBLISHED
        .iter()
        .flat_map(|(name, ends)| ends.map(|end| (*name, end)));
    assert_eq!(runs.len(), published.clone().count());
    for (run, (dataset, (sigma, shrink))) in runs.iter().zip(published) {
        assert_eq!(run["dataset"], dataset);
        let dynamics = Dynamics {
            kl: GaussianKl::new(prior, KlForm::Reference),
            kl_lr: field(settings, "kl_lr"),
            cycle: KlCycle::Pulse {
                length: field(run, "cycle"),
            },
            schedule: Schedule {
                total: field(settings, "total_steps"),
                warmup: field(settings, "warmup_steps"),
                stride: field(run, "processes"),
            },
            sigma: field(settings, "sigma"),
        };
        let end = dynamics.run(field(settings, "initial_rho"), field(run, "updates"));
        for (what, got, golden, published) in [
            ("sigma", end.sigma_end, field::<f64>(run, "sigma"), sigma),
            ("shrink", end.shrink_end, field(run, "mean_shrink"), shrink),
        ] {
            assert!(
                (got - golden).abs() <= 1e-4,
                "{run}: {what} is {got}, in Python {golden}"
            );
            assert!(
                (got - published).abs() <= 1e-3,
                "{run}: {what} is {got}, published {published}"
            );
        }
    }
}
