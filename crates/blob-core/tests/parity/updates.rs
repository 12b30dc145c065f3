#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::{Gaussian, Posterior};
use blob_core::kl::{Dynamics, GaussianKl, KlForm, PriorStd};
use blob_core::method::{BlobConfig, MethodConfig, PointConfig};
use blob_core::objective::Average;
use blob_core::ops::Device;
use blob_core::optim::{KlCycle, Schedule};
use blob_core::train::{TrainConfig, Trainer};

use crate::support::device::devices;
use crate::support::golden::{Case, Form, assert_near, document, field, parameters};

/// A run of the two optimizers: reports and parameters after each update.
fn check_updates(name: &str, device: Device) {
    let mut case = Case::open_as(name, Form::Folder, device);
    let document = &case.document;
    let point = PointConfig {
        lr: field(document, "lr"),
        schedule: Schedule {
            total: field(document, "total_steps"),
            warmup: field(document, "warmup_steps"),
            warmup_start: 0,
            stride: 1,
        },
        weight_decay: field(document, "weight_decay"),
        adam_epsilon: field(document, "adam_epsilon"),
        max_grad_norm: field(document, "max_grad_norm"),
    };
    let bayes = BlobConfig {
        point,
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
        method: MethodConfig::Blob(bayes),
    };
    assert_eq!(
        case.adapter.config().posterior,
        Some(Posterior {
            sigma: case.sigma(),
            init_eps: 0.05,
            over: Gaussian::A
        })
    );
    let mut trainer = Trainer::new(config, &case.adapter).unwrap();
    let batches = [case.batch.clone()];
    let snapshots: Vec<u64> = field(document, "snapshots");
    for record in document["records"].as_array().unwrap() {
        let report = trainer
            .step(
                &case.backbone,
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
                "{name} on {device:?}, update {}: {number} is {got}, expected {expected}",
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
        for device in devices() {
            check_updates(&format!("update-{case}"), device);
        }
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
                warmup_start: 0,
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
