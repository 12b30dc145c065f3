//! What is read off an adapter, and adapters that are made of others.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::adapter::{
    Adapter, Draw, Factor, Gaussian, LoraConfig, LowRank, Module, Posterior, Sigma, Site,
    SpectrumRule,
};
use blob_core::noise::{NoiseKey, Phase, Purpose, Stream};

use crate::support::small_model::{config, lora, normals, trained, with_terms};

const SITES: [Module; 2] = [Module::Q, Module::LmHead];

fn of_members(over: Option<Gaussian>, members: usize) -> Adapter {
    let of = |over| Posterior {
        sigma: Sigma::Square,
        init_eps: 0.05,
        over,
    };
    let lora = LoraConfig {
        posterior: over.map(of),
        members,
        ..lora(&SITES)
    };
    let mut adapter = Adapter::new(lora, &config()).unwrap();
    for member in 0..members {
        let values = adapter.parameters_mut().member_mut(member);
        let drawn = normals(70 + member as u64, values.len());
        values.copy_from_slice(&drawn);
    }
    adapter
}

/// Every σ of some sites, of all members.
fn sigmas(adapter: &Adapter, is_of: impl Fn(Site) -> bool) -> Vec<f64> {
    let mut all = Vec::new();
    for member in 0..adapter.config().members {
        for (_, term) in adapter.terms(member).into_iter().filter(|it| is_of(it.0)) {
            let rho = term.rho.into_iter().chain(term.rho_b).flatten();
            all.extend(rho.map(|rho| f64::from(rho * rho)));
        }
    }
    all
}

#[test]
fn the_mean_of_sigma_and_the_count_are_of_every_factor_and_member() {
    for over in [Gaussian::A, Gaussian::AAndB] {
        let adapter = of_members(Some(over), 2);
        let all = sigmas(&adapter, |_| true);
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!((adapter.sigma_mean().unwrap() / mean - 1.0).abs() < 1e-6);
        let points = 2 * adapter.parameters().layout().point_len();
        assert_eq!(adapter.trainable_parameters(), points + all.len());
    }
    assert_eq!(of_members(None, 2).sigma_mean(), None);
}

#[test]
fn quantiles_of_sigma_are_those_of_each_layer_over_all_members() {
    let adapter = of_members(Some(Gaussian::AAndB), 2);
    let found = adapter.sigma_quantiles(&[0.0, 0.3, 1.0]).unwrap();
    let sites: Vec<_> = adapter.terms(0).into_keys().collect();
    assert!(found.iter().map(|(site, _)| *site).eq(sites));
    for (site, quantiles) in found {
        let mut of_site = sigmas(&adapter, |it| it == site);
        of_site.sort_unstable_by(f64::total_cmp);
        let tenths = 3 * (of_site.len() - 1);
        let (below, rest) = (tenths / 10, (tenths % 10) as f64 / 10.0);
        let inner = of_site[below] + rest * (of_site[below + 1] - of_site[below]);
        let expected = [of_site[0], inner, of_site[of_site.len() - 1]];
        for (got, expected) in quantiles.iter().zip(expected) {
            assert!(
                (got - expected).abs() < 1e-6 * (1.0 + expected),
                "{got} {expected}"
            );
        }
    }
    for fraction in [-0.01, 1.01, f64::NAN] {
        let error = adapter.sigma_quantiles(&[0.5, fraction]).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    }
    let point = of_members(None, 1).sigma_quantiles(&[0.5]).unwrap();
    assert!(point.is_empty());
}

/// A draw is a pure function of who asks, and each factor asks for itself.
#[test]
fn draws_of_both_factors_are_noise_of_their_own() {
    let stream = Stream::new(5, 0, Phase::Evaluation);
    let site = Site {
        block: 1,
        module: Module::V,
    };
    for (sign, sample) in [(1.0, 0), (-1.0, 6)] {
        let draw = Draw {
            member: 0,
            stream,
            sample,
            sign,
        };
        for (factor, purpose) in [
            (Factor::A, Purpose::Gaussian),
            (Factor::Rho, Purpose::Gaussian),
            (Factor::B, Purpose::GaussianB),
            (Factor::RhoB, Purpose::GaussianB),
        ] {
            let mut expected = vec![0.0; 9];
            let key = NoiseKey {
                slot: 8 + 2,
                purpose,
                sample,
            };
            stream.fill_normal(&mut expected, key);
            let expected: Vec<_> = expected.iter().map(|e| sign * e).collect();
            assert_eq!(draw.gaussian(site, factor, 9), expected, "{factor:?}");
        }
    }
}

#[test]
fn a_point_made_isotropic_is_the_same_model_with_noise_of_one_size_from_a_block_on() {
    let head = config().num_layers;
    // However small B is: what is negligible is so beside the largest.
    for (scale, from, is_random) in [
        (1.0, 0, [true, true]),
        (1e-7, 0, [true, true]),
        (1.0, head, [false, true]),
    ] {
        let mut plain = of_members(None, 2);
        for member in 0..2 {
            let of_b = plain.parameters().layout().run(Factor::B);
            let b = &mut plain.parameters_mut().member_mut(member)[of_b];
            for b in b {
                *b *= scale;
            }
        }
        let made = plain.isotropic(SpectrumRule::Exact, from).unwrap();
        let over = made.config().posterior.unwrap();
        assert_eq!((over.over, over.sigma), (Gaussian::A, Sigma::Square));
        for member in 0..2 {
            let terms = plain.terms(member).into_iter().zip(made.terms(member));
            for ((site, before), (_, after)) in terms {
                let [rank, inputs] = [before.rank, before.inputs];
                let product = |a: &[f32], b: &[f32], i: usize| -> f32 {
                    let (m, k) = (i / inputs, i % inputs);
                    (0..rank).map(|r| b[m * rank + r] * a[r * inputs + k]).sum()
                };
                for i in 0..before.outputs * inputs {
                    let [was, is] = [
                        product(&before.a, &before.b, i),
                        product(&after.a, &after.b, i),
                    ];
                    assert!((was - is).abs() < 1e-4, "{was} {is}");
                }
                // σ_i is 1/d_i, and d_i the norm of a column of B'.
                let rho = after.rho.unwrap();
                for i in 0..rank {
                    let column = after.b.iter().skip(i).step_by(rank);
                    let d = column.map(|b| b * b).sum::<f32>().sqrt();
                    let random = is_random[usize::from(site.module == Module::LmHead)];
                    let expected = if random { 1.0 / d } else { 0.0 };
                    for rho in &rho[i * inputs..(i + 1) * inputs] {
                        assert!((rho * rho - expected).abs() <= 1e-4 * expected, "{rho} {d}");
                    }
                }
            }
        }
    }
}

#[test]
fn sigma_is_scaled_by_a_factor_and_the_means_are_not() {
    for over in [Gaussian::A, Gaussian::AAndB] {
        let adapter = of_members(Some(over), 2);
        let scaled = adapter.with_sigma_times(3.0).unwrap();
        let pairs = sigmas(&scaled, |_| true).into_iter();
        for (scaled, before) in pairs.zip(sigmas(&adapter, |_| true)) {
            assert!((scaled - 3.0 * before).abs() < 1e-5 * before);
        }
        let points = adapter.parameters().layout().point_len();
        for member in 0..2 {
            let means = |of: &Adapter| of.parameters().member(member)[..points].to_vec();
            assert_eq!(means(&scaled), means(&adapter));
        }
        assert!(adapter.with_sigma_times(0.0).is_ok());
        for factor in [-1.0, f64::NAN, f64::INFINITY] {
            let error = adapter.with_sigma_times(factor).unwrap_err();
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        }
    }
    let mut softplus = lora(&SITES);
    softplus.posterior.as_mut().unwrap().sigma = Sigma::Softplus;
    for lora in [softplus, of_members(None, 1).config().clone()] {
        let adapter = trained(lora, &config());
        assert!(adapter.with_sigma_times(1.0).is_err());
    }
}

#[test]
fn draws_are_the_members_of_a_point() {
    let adapter = of_members(Some(Gaussian::A), 2);
    let stream = Stream::new(5, 0, Phase::Evaluation);
    let drawn = adapter.drawn_for_step(&[stream, stream], 3);
    assert_eq!((drawn.config().members, drawn.sigma()), (6, None));
}

#[test]
fn a_layer_beyond_the_last_block_is_none() {
    let of = |block| Site::parse(&format!("model.layers.{block}.mlp.up_proj"), &config());
    let blocks = config().num_layers;
    assert_eq!(of(blocks - 1).unwrap().block, blocks - 1);
    assert_eq!(of(blocks), None);
}

#[test]
fn softplus_is_its_argument_where_its_exponential_overflows() {
    assert_eq!(Sigma::Softplus.of(100.0), 100.0);
    assert_eq!(Sigma::Softplus.rho(100.0), 100.0);
}

#[test]
fn a_draw_adds_the_columns_of_its_member_by_coefficients_of_its_own() {
    let plain = of_members(Some(Gaussian::AAndB), 2);
    let len = plain.parameters().layout().low_rank_len();
    let columns: Vec<_> = (0..6).map(|seed| normals(200 + seed, len)).collect();
    let adapter = plain.clone().with_deviations(3, &columns).unwrap();
    let stream = Stream::new(5, 0, Phase::Evaluation);
    for (sign, from_block) in [(1.0, 0), (-1.0, 0), (1.0, config().num_layers)] {
        let draws = [(0, 4), (1, 7)].map(|(member, sample)| Draw {
            member,
            stream,
            sample,
            sign,
        });
        let with = adapter.drawn(&draws, from_block);
        let without = plain.drawn(&draws, from_block);
        for draw in draws {
            let mut z = [0.0; 3];
            let key = NoiseKey {
                slot: 0,
                purpose: Purpose::Deviations,
                sample: draw.sample,
            };
            stream.fill_normal(&mut z, key);
            let own = &columns[draw.member * 3..draw.member * 3 + 3];
            for parameter in with.parameters().layout().parameters() {
                let is_random = parameter.site.block >= from_block;
                for i in parameter.range.clone() {
                    let terms = z.iter().zip(own).map(|(z, column)| sign * z * column[i]);
                    let added = if is_random { terms.sum() } else { 0.0 };
                    let [got, mean] =
                        [&with, &without].map(|it| it.parameters().member(draw.member)[i]);
                    assert!((got - mean - added).abs() < 1e-5, "{got} {mean} {added}");
                }
            }
        }
    }
}

#[test]
fn columns_of_a_covariance_that_do_not_fit_are_refused() {
    let both = of_members(Some(Gaussian::AAndB), 2);
    let len = both.parameters().layout().low_rank_len();
    let made = |adapter: &Adapter, columns, count, len| {
        let values = vec![vec![0.1; len]; count];
        adapter.clone().with_deviations(columns, &values)
    };
    for columns in [1, 64] {
        assert!(made(&both, columns, 2 * columns, len).is_ok());
    }
    let over_a = of_members(Some(Gaussian::A), 2);
    for refused in [
        made(&both, 0, 0, len),
        made(&both, 65, 130, len),
        made(&both, 2, 3, len),
        made(&both, 2, 4, len - 1),
        made(&over_a, 2, 4, len),
    ] {
        assert_eq!(refused.unwrap_err().code(), "BPEFT_INVALID_INPUT");
    }
}

#[test]
fn terms_that_do_not_fit_are_refused() {
    let adapter = trained(lora(&SITES), &config());
    let changes: [fn(&mut LowRank); 6] = [
        |term| term.a.truncate(1),
        |term| term.b.truncate(1),
        |term| term.rho = None,
        |term| term.rho = Some(vec![0.0; 2]),
        |term| term.rho_b = Some(vec![0.0; term.b.len()]),
        |term| std::mem::swap(&mut term.a, &mut term.b),
    ];
    for change in changes {
        let mut terms = adapter.terms(0);
        change(terms.values_mut().next_back().unwrap());
        let error = Adapter::from_terms(adapter.config().clone(), &[terms]).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    }
    let same = with_terms(&adapter, |_, _| ());
    assert_eq!(same.terms(0), adapter.terms(0));
}
