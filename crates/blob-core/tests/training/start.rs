//! What a fresh adapter begins with.

use blob_core::adapter::{Adapter, Factor, Gaussian, HeadConfig, LoraConfig, Module, Posterior};
use blob_core::noise::{NoiseKey, Phase, Purpose, Stream};

use crate::support::encoder_case::EncoderCase;
use crate::support::methods::sigma_of;
use crate::support::small_model::{config, lora};

/// Values of `values` where 0 is the least and 1 the greatest that can be drawn.
fn in_unit(values: &[f32], (low, high): (f32, f32)) -> Vec<f32> {
    values.iter().map(|x| (x - low) / (high - low)).collect()
}

/// Share of the places at which two draws are the same.
fn alike(one: &[f32], other: &[f32]) -> f32 {
    let same = |(one, other): (&f32, &f32)| (one - other).abs() < 1e-3;
    one.iter().zip(other).filter(|pair| same(*pair)).count() as f32 / one.len() as f32
}

#[test]
fn every_site_begins_with_draws_of_its_own_and_sigma_with_others_than_the_mean() {
    let adapter = Adapter::new(lora(&Module::ALL), &config()).unwrap();
    let eps = 0.05_f32;
    let mut draws = Vec::new();
    for (site, term) in adapter.terms(0) {
        let bound = 1.0 / (term.inputs as f32).sqrt();
        draws.push((site, "A", in_unit(&term.a, (-bound, bound))));
        let rho = in_unit(&term.rho.unwrap(), (eps / 2.0_f32.sqrt(), eps));
        draws.push((site, "rho", rho));
    }
    for (site, part, draw) in &draws {
        let inside = draw.iter().all(|u| (-1e-3..=1.001).contains(u));
        assert!(inside, "{part} of {}", site.path());
        let ends = [draw.iter().any(|u| *u < 0.2), draw.iter().any(|u| *u > 0.8)];
        assert_eq!(ends, [true; 2], "{part} of {}", site.path());
    }
    for (at, (site, part, draw)) in draws.iter().enumerate() {
        for (other_site, other_part, other) in &draws[..at] {
            let share = alike(draw, other);
            let [site, other_site] = [site.path(), other_site.path()];
            assert!(
                share < 0.2,
                "{part} of {site} is {other_part} of {other_site}: {share}"
            );
        }
    }
}

/// Correlation over the places that both have; `None` where one does not vary.
fn correlation(one: &[f32], other: &[f32]) -> Option<f64> {
    let count = one.len().min(other.len());
    let centred = |values: &[f32]| {
        let mean = values[..count].iter().map(|x| f64::from(*x)).sum::<f64>() / count as f64;
        let off = |x: &f32| f64::from(*x) - mean;
        values[..count].iter().map(off).collect::<Vec<_>>()
    };
    let (one, other) = (centred(one), centred(other));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let norms = dot(&one, &one).sqrt() * dot(&other, &other).sqrt();
    (norms > 0.0).then(|| dot(&one, &other) / norms)
}

fn begun(over: Gaussian) -> Posterior {
    Posterior {
        sigma: sigma_of(over),
        init_eps: 0.05,
        over,
    }
}

#[test]
fn no_two_parts_of_any_posterior_begin_alike() {
    for &over in Gaussian::ALL {
        let lora = LoraConfig {
            rank: 24,
            posterior: Some(begun(over)),
            ..lora(&Module::ALL)
        };
        let adapter = Adapter::new(lora, &config()).unwrap();
        let values = adapter.parameters().member(0);
        let parts: Vec<_> = adapter
            .parameters()
            .layout()
            .parameters()
            .iter()
            .map(|part| (part, &values[part.range.clone()]))
            // Scales are singular values, in their order.
            .filter(|(part, values)| values.len() >= 24 && part.factor != Factor::Scale)
            .collect();
        let drawn = |values: &[f32]| values.iter().any(|x| *x != values[0]);
        let count = parts.iter().filter(|(_, values)| drawn(values)).count();
        assert!(count >= 2 * adapter.terms(0).len(), "{over:?}: {count}");
        for (at, (part, values)) in parts.iter().enumerate() {
            for (other_part, other) in &parts[..at] {
                let alike = correlation(values, other).is_some_and(|r| r.abs() > 0.9);
                assert!(!alike, "{over:?}: {part:?} and {other_part:?}");
            }
        }
    }
}

#[test]
fn a_member_begins_as_a_single_adapter_of_the_seed_behind_does() {
    for &over in Gaussian::ALL {
        let of = |seed, members| {
            let lora = LoraConfig {
                seed,
                members,
                posterior: Some(begun(over)),
                ..lora(&Module::ALL)
            };
            Adapter::new(lora, &config()).unwrap()
        };
        let (ensemble, first, second) = (of(5, 2), of(5, 1), of(6, 1));
        let values = |of: &Adapter, member| of.parameters().member(member).to_vec();
        assert_eq!(values(&ensemble, 0), values(&first, 0), "{over:?}");
        assert_eq!(values(&ensemble, 1), values(&second, 0), "{over:?}");
        assert_ne!(values(&ensemble, 0), values(&ensemble, 1));
    }
}

#[test]
fn a_head_begins_as_normals_of_the_models_range_and_without_a_bias() {
    let case = EncoderCase::open("encoder-roberta");
    let backbone = case.backbone.config();
    let range = backbone.encoder.as_ref().unwrap().initializer_range as f32;
    let lora = LoraConfig {
        members: 2,
        head: Some(HeadConfig {
            classes: 3,
            trained: false,
            fresh: false,
        }),
        ..lora(&[Module::Q])
    };
    let adapter = Adapter::new(lora, backbone).unwrap();
    let sites: Vec<_> = adapter
        .parameters()
        .layout()
        .own_layers()
        .shapes
        .keys()
        .collect();
    assert_eq!(sites.len(), 2);
    for member in 0..2 {
        let stream = Stream::new(5 + member as u64, 0, Phase::Initialisation);
        for &&site in &sites {
            let whole = adapter.parameters().own_layer(member, site).unwrap();
            let mut expected = vec![0.0; whole.weight.len()];
            let key = NoiseKey {
                slot: site.slot(),
                purpose: Purpose::Gaussian,
                sample: 0,
            };
            stream.fill_normal(&mut expected, key);
            for weight in &mut expected {
                *weight *= range;
            }
            assert_eq!(whole.weight, expected, "{}", site.path());
            assert!(whole.bias.iter().all(|&bias| bias == 0.0));
        }
    }
}
