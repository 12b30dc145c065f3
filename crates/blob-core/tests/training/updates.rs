//! How methods ask to be sampled, what their updates refuse, and how small a norm is clipped and a
//! decay acts.

use blob_core::adapter::Gaussian;
use blob_core::method::{
    BbbConfig, BlobConfig, MethodConfig, MleConfig, PointConfig, Sampling, Step,
};
use blob_core::optim::Schedule;
use blob_core::pass::NoiseSharing;

use crate::equations::{POINT, PRIOR_STD, ROWS, SCHEDULE, adapter, wide};
use crate::support::small_model::blob;

#[test]
fn a_gradient_that_is_not_finite_is_refused_by_its_site_whichever_part_it_is_of() {
    let settings = BlobConfig {
        point: POINT,
        ..blob(NoiseSharing::Token)
    };
    let mut adapter = adapter(Some(Gaussian::A));
    let before = adapter.parameters().values().host().to_vec();
    let mut method = MethodConfig::Blob(settings).build(&adapter).unwrap();
    let layout = adapter.parameters().layout().clone();
    for parameter in layout.parameters() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut gradients = adapter.parameters().zeros_like();
            gradients.member_mut(1)[parameter.range.start] = value;
            let step = Step {
                t: 1,
                gradients: &gradients,
                drawn: None,
            };
            let error = method.update(&mut adapter, &step).unwrap_err();
            assert_eq!(error.code(), "BPEFT_NOT_FINITE");
            assert!(
                error.to_string().contains(&parameter.site.path()),
                "{error}"
            );
        }
    }
    assert_eq!(adapter.parameters().values().host(), before);
}

#[test]
fn each_method_is_sampled_in_its_own_way() {
    let of = |method: MethodConfig, over| method.build(&adapter(over)).unwrap().sampling();
    let drawn = |samples, sharing| Sampling { samples, sharing };
    let bbb = MethodConfig::Bbb(BbbConfig {
        point: POINT,
        prior_std: PRIOR_STD,
        rows: ROWS,
        train_samples: 3,
    });
    let blob = MethodConfig::Blob(BlobConfig {
        train_samples: 2,
        ..blob(NoiseSharing::Example)
    });
    let (a, both) = (Some(Gaussian::A), Some(Gaussian::AAndB));
    assert_eq!(of(bbb.clone(), a), drawn(3, Some(NoiseSharing::Shared)));
    assert_eq!(of(bbb, both), drawn(3, None));
    assert_eq!(of(blob, a), drawn(2, Some(NoiseSharing::Example)));
    let mle = MethodConfig::Mle(MleConfig { point: POINT });
    assert_eq!(of(mle, None), Sampling::MEAN);
}

/// As PyTorch clips: by c/(‖g‖ + 1e-6), which shows where the norm is as small.
#[test]
fn clipping_adds_a_constant_to_the_norm() {
    let point = PointConfig {
        weight_decay: 0.0,
        max_grad_norm: 1e-6,
        schedule: Schedule {
            warmup: 0.0,
            ..SCHEDULE
        },
        ..POINT
    };
    let mut adapter = adapter(None);
    let before = wide(adapter.parameters().member(0));
    let mut method = MethodConfig::Mle(MleConfig { point })
        .build(&adapter)
        .unwrap();
    let mut gradients = adapter.parameters().zeros_like();
    gradients.member_mut(0)[3] = 1e-6;
    let step = Step {
        t: 1,
        gradients: &gradients,
        drawn: None,
    };
    method.update(&mut adapter, &step).unwrap();
    // Half of it is left, which is small beside ε.
    let moved = before[3] - f64::from(adapter.parameters().member(0)[3]);
    let expected = 0.05 * 0.5e-6 / (0.5e-6 + 0.05);
    assert!(
        (moved - expected).abs() < 0.2 * expected,
        "{moved} {expected}"
    );
}

/// ηλ = 1e-9, as of the reference's MAP: 1 − 1e-9 is 1 in f32.
#[test]
fn a_decay_that_f32_cannot_hold_in_one_update_acts_over_many() {
    let schedule = Schedule {
        total: 20_000,
        warmup: 600.0,
        ..SCHEDULE
    };
    let point = PointConfig {
        lr: 1e-4,
        weight_decay: 1e-5,
        schedule,
        ..POINT
    };
    let mut adapter = adapter(None);
    let points = adapter.parameters().layout().point_len();
    let before = wide(&adapter.parameters().member(1)[..points]);
    let mut method = MethodConfig::Mle(MleConfig { point })
        .build(&adapter)
        .unwrap();
    let gradients = adapter.parameters().zeros_like();
    let mut kept = 1.0;
    for t in 1..=9540 {
        let step = Step {
            t,
            gradients: &gradients,
            drawn: None,
        };
        method.update(&mut adapter, &step).unwrap();
        kept *= 1.0 - 1e-4 * schedule.factor(t) * 1e-5;
    }
    assert!(1.0 - kept > 7e-6);
    for (after, before) in adapter.parameters().member(1).iter().zip(before) {
        // It acted ten times, with a rounding of the factor and one of the product.
        let off = (f64::from(*after) - kept * before).abs();
        assert!(
            off <= 20.0 * 2f64.powi(-24) * before.abs(),
            "{after} {before}"
        );
    }
}
