//! The rules of settings: each value beyond its range is refused by its name, and the last one
//! within is taken.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::Error;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module, Posterior, Sigma};
use blob_core::method::{
    BbbConfig, CLoraConfig, IvonConfig, MapConfig, MethodConfig, MleConfig, PointConfig,
    ScalaBlConfig, SwagConfig,
};
use blob_core::objective::Average;
use blob_core::optim::KlCycle;
use blob_core::pass::NoiseSharing;

use crate::support::methods::sigma_of;
use crate::support::small_model::{blob, config, lora, point};

const BELOW_ZERO: [f64; 4] = [-1e-9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
const NOT_POSITIVE: [f64; 4] = [0.0, -1.0, f64::NAN, f64::INFINITY];

/// A setting by its name, and how it is changed.
type Field<T> = (&'static str, fn(&mut T, f64));

fn adapter(over: Option<Gaussian>) -> Adapter {
    let of = |over| Posterior {
        sigma: sigma_of(over),
        init_eps: 0.05,
        over,
    };
    let posterior = over.map(of);
    let lora = LoraConfig {
        posterior,
        ..lora(&[Module::V])
    };
    Adapter::new(lora, &config()).unwrap()
}

/// The field that is refused, if one is.
fn refused(method: &MethodConfig, over: Option<Gaussian>) -> Option<&'static str> {
    method.build(&adapter(over)).err().map(field_of)
}

fn field_of(error: Error) -> &'static str {
    match error {
        Error::InvalidConfig { field, .. } => field,
        other => panic!("{other}"),
    }
}

/// What each of the changes to settings makes of them.
fn changed<T: Copy, V: Copy>(of: T, values: &[V], change: impl Fn(&mut T, V)) -> Vec<T> {
    let with = |&value: &V| {
        let mut settings = of;
        change(&mut settings, value);
        settings
    };
    values.iter().map(with).collect()
}

#[test]
fn of_adamw_and_its_schedule() {
    let of = |point| refused(&MethodConfig::Mle(MleConfig { point }), None);
    let fields: [Field<PointConfig>; 4] = [
        ("lr", |point, value| point.lr = value),
        ("weight_decay", |point, value| point.weight_decay = value),
        ("adam_epsilon", |point, value| point.adam_epsilon = value),
        ("max_grad_norm", |point, value| point.max_grad_norm = value),
    ];
    for (name, change) in fields {
        for settings in changed(point(0.1), &BELOW_ZERO, change) {
            assert_eq!(of(settings), Some(name), "{settings:?}");
        }
        assert_eq!(of(changed(point(0.1), &[0.0], change)[0]), None, "{name}");
    }
    let warm = |point: &mut PointConfig, warmup| point.schedule.warmup = warmup;
    for settings in changed(point(0.1), &BELOW_ZERO, warm) {
        assert_eq!(of(settings), Some("warmup"));
    }
    let tick = |point: &mut PointConfig, stride| point.schedule.stride = stride;
    let of_strides = changed(point(0.1), &[0, 1], tick).into_iter().map(of);
    assert_eq!(of_strides.collect::<Vec<_>>(), [Some("stride"), None]);
}

#[test]
fn of_the_variational_methods() {
    let (a, both) = (Some(Gaussian::A), Some(Gaussian::AAndB));
    let settings = blob(NoiseSharing::Token);
    let of = |settings| refused(&MethodConfig::Blob(settings), a);
    for settings in changed(settings, &NOT_POSITIVE, |of, std| of.prior_std = std) {
        assert_eq!(of(settings), Some("prior_std"));
    }
    for settings in changed(settings, &BELOW_ZERO, |of, rate| of.kl_lr = rate) {
        assert_eq!(of(settings), Some("kl_lr"));
    }
    let none = [KlCycle::Pulse { length: 0 }, KlCycle::Uniform { length: 0 }];
    for settings in changed(settings, &none, |of, cycle| of.kl_cycle = cycle) {
        assert_eq!(of(settings), Some("kl_cycle"));
    }
    let drawn = changed(settings, &[0, 1, 1024, 1025], |of, n| of.train_samples = n);
    let beyond = Some("train_samples");
    let fields: Vec<_> = drawn.into_iter().map(of).collect();
    assert_eq!(fields, [beyond, None, None, beyond]);
    for over in [None, both] {
        let field = refused(&MethodConfig::Blob(settings), over);
        assert_eq!(field, Some("posterior"), "{over:?}");
    }

    let settings = BbbConfig {
        point: point(0.1),
        prior_std: 0.2,
        rows: 5,
        train_samples: 1,
    };
    for (over, most) in [(a, 1024), (both, 64)] {
        let drawn = changed(settings, &[0, 1, most, most + 1], |of, n| {
            of.train_samples = n;
        });
        let of = |settings| refused(&MethodConfig::Bbb(settings), over);
        let fields: Vec<_> = drawn.into_iter().map(of).collect();
        assert_eq!(fields, [beyond, None, None, beyond], "{over:?}");
        for settings in changed(settings, &NOT_POSITIVE, |of, std| of.prior_std = std) {
            assert_eq!(of(settings), Some("prior_std"));
        }
    }
    assert_eq!(
        refused(&MethodConfig::Bbb(settings), None),
        Some("posterior")
    );

    let settings = MapConfig {
        point: point(0.1),
        prior_std: 0.2,
        rows: 5,
    };
    for settings in changed(settings, &NOT_POSITIVE, |of, std| of.prior_std = std) {
        assert_eq!(
            refused(&MethodConfig::Map(settings), None),
            Some("prior_std")
        );
    }
}

#[test]
fn of_ivon() {
    let settings = IvonConfig {
        lr: 0.1,
        schedule: point(0.1).schedule,
        effective_rows: 100.0,
        weight_decay: 1e-3,
        initial_hessian: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        clip: 0.1,
        train_samples: 1,
    };
    let of = |settings| refused(&MethodConfig::Ivon(settings), Some(Gaussian::AAndB));
    let at_least_0: [Field<IvonConfig>; 3] = [
        ("lr", |of, value| of.lr = value),
        ("weight_decay", |of, value| of.weight_decay = value),
        ("clip", |of, value| of.clip = value),
    ];
    for (name, change) in at_least_0 {
        for settings in changed(settings, &BELOW_ZERO, change) {
            assert_eq!(of(settings), Some(name), "{settings:?}");
        }
        assert_eq!(of(changed(settings, &[0.0], change)[0]), None, "{name}");
    }
    let positive: [Field<IvonConfig>; 2] = [
        ("effective_rows", |of, value| of.effective_rows = value),
        ("initial_hessian", |of, value| of.initial_hessian = value),
    ];
    for (name, change) in positive {
        for settings in changed(settings, &NOT_POSITIVE, change) {
            assert_eq!(of(settings), Some(name), "{settings:?}");
        }
    }
    let below_1: [Field<IvonConfig>; 2] = [
        ("beta1", |of, value| of.beta1 = value),
        ("beta2", |of, value| of.beta2 = value),
    ];
    for (name, change) in below_1 {
        for settings in changed(settings, &[-0.1, 1.0, f64::NAN], change) {
            assert_eq!(of(settings), Some(name), "{settings:?}");
        }
        assert_eq!(of(changed(settings, &[0.0], change)[0]), None, "{name}");
    }
    let drawn = changed(settings, &[0, 1, 64, 65], |of, n| of.train_samples = n);
    let beyond = Some("train_samples");
    let fields: Vec<_> = drawn.into_iter().map(of).collect();
    assert_eq!(fields, [beyond, None, None, beyond]);
    let tick = changed(settings, &[0], |of, stride| of.schedule.stride = stride);
    assert_eq!(of(tick[0]), Some("stride"));
}

#[test]
fn of_swag() {
    let settings = SwagConfig {
        point: point(0.1),
        start: 0,
        every: 1,
        lr: 0.1,
        deviations: 2,
        scale: 1.0,
    };
    let of = |settings| refused(&MethodConfig::Swag(settings), None);
    assert_eq!(
        of(changed(settings, &[0], |of, n| of.every = n)[0]),
        Some("every")
    );
    let columns = changed(settings, &[1, 2, 20, 21], |of, k| of.deviations = k);
    let (beyond, fields) = (Some("deviations"), columns.into_iter().map(of));
    let fields: Vec<_> = fields.collect();
    assert_eq!(fields, [beyond, None, None, beyond]);
    let at_least_0: [Field<SwagConfig>; 2] = [
        ("lr", |of, value| of.lr = value),
        ("scale", |of, value| of.scale = value),
    ];
    for (name, change) in at_least_0 {
        for settings in changed(settings, &BELOW_ZERO, change) {
            assert_eq!(of(settings), Some(name), "{settings:?}");
        }
        assert_eq!(of(changed(settings, &[0.0], change)[0]), None, "{name}");
    }
    let bad = |point: &mut SwagConfig, value| point.point.lr = value;
    assert_eq!(of(changed(settings, &[-1.0], bad)[0]), Some("lr"));
}

#[test]
fn of_an_adapter() {
    let of = |change: &dyn Fn(&mut LoraConfig)| {
        let mut lora = lora(&[Module::V]);
        change(&mut lora);
        Adapter::new(lora, &config()).err().map(field_of)
    };
    for rank in [0, 1025] {
        assert_eq!(of(&|lora| lora.rank = rank), Some("rank"));
    }
    for alpha in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(of(&|lora| lora.alpha = alpha), Some("alpha"));
    }
    for dropout in [-0.1, 1.0, f32::NAN] {
        assert_eq!(of(&|lora| lora.dropout = dropout), Some("dropout"));
    }
    for members in [0, 65] {
        assert_eq!(of(&|lora| lora.members = members), Some("members"));
    }
    assert_eq!(
        of(&|lora| lora.target_modules.clear()),
        Some("target_modules")
    );
    assert_eq!(of(&|lora| lora.members = 64), None);
    assert_eq!(of(&|lora| lora.rank = 1024), None);
    assert_eq!(of(&|lora| lora.dropout = 0.0), None);
    let start = |sigma, init_eps| {
        let over = Gaussian::A;
        let posterior = Some(Posterior {
            sigma,
            init_eps,
            over,
        });
        of(&|lora| lora.posterior = posterior)
    };
    for sigma in [Sigma::Square, Sigma::Softplus] {
        for eps in [0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(start(sigma, eps), Some("init_eps"), "{sigma:?} {eps}");
        }
        assert_eq!(start(sigma, 0.05), None);
    }
    assert_eq!(start(Sigma::Square, -0.05), Some("init_eps"));
    assert_eq!(start(Sigma::Softplus, -0.05), None);
}

#[test]
fn of_what_lies_beside_the_factors() {
    let (scales, context) = (Some(Gaussian::Scales), Some(Gaussian::Context));
    let none = [KlCycle::Pulse { length: 0 }, KlCycle::Uniform { length: 0 }];
    let beyond = Some("train_samples");
    let settings = ScalaBlConfig {
        point: point(0.1),
        prior_std: 0.2,
        kl_lr: 0.0,
        kl_cycle: KlCycle::Uniform { length: 1 },
        train_samples: 1,
        average: Average::Logits,
    };
    let of = |settings| refused(&MethodConfig::ScalaBl(settings), scales);
    for settings in changed(settings, &NOT_POSITIVE, |of, std| of.prior_std = std) {
        assert_eq!(of(settings), Some("prior_std"));
    }
    for settings in changed(settings, &BELOW_ZERO, |of, rate| of.kl_lr = rate) {
        assert_eq!(of(settings), Some("kl_lr"));
    }
    for settings in changed(settings, &none, |of, cycle| of.kl_cycle = cycle) {
        assert_eq!(of(settings), Some("kl_cycle"));
    }
    let drawn = changed(settings, &[0, 1, 64, 65], |of, n| of.train_samples = n);
    let fields: Vec<_> = drawn.into_iter().map(of).collect();
    assert_eq!(fields, [beyond, None, None, beyond]);
    let field = refused(&MethodConfig::ScalaBl(settings), context);
    assert_eq!(field, Some("posterior"));

    let settings = CLoraConfig {
        point: point(0.1),
        prior_std: 0.2,
        context_lr: 0.0,
        kl_weight: 0.0,
        kl_cycle: KlCycle::Uniform { length: 1 },
        train_samples: 1,
        average: Average::Logits,
        noise: NoiseSharing::Token,
    };
    let of = |settings| refused(&MethodConfig::CLora(settings), context);
    for settings in changed(settings, &NOT_POSITIVE, |of, std| of.prior_std = std) {
        assert_eq!(of(settings), Some("prior_std"));
    }
    let fields: [Field<CLoraConfig>; 2] = [
        ("context_lr", |settings, value| settings.context_lr = value),
        ("kl_weight", |settings, value| settings.kl_weight = value),
    ];
    for (name, change) in fields {
        for settings in changed(settings, &BELOW_ZERO, change) {
            assert_eq!(of(settings), Some(name));
        }
    }
    for settings in changed(settings, &none, |of, cycle| of.kl_cycle = cycle) {
        assert_eq!(of(settings), Some("kl_cycle"));
    }
    let drawn = changed(settings, &[0, 1, 1024, 1025], |of, n| of.train_samples = n);
    let fields: Vec<_> = drawn.into_iter().map(of).collect();
    assert_eq!(fields, [beyond, None, None, beyond]);
    let field = refused(&MethodConfig::CLora(settings), scales);
    assert_eq!(field, Some("posterior"));
}
