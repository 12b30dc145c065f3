//! Layers with a context, by the kernels of each device and by plain operations.

use std::collections::BTreeMap;

use super::*;
use crate::adapter::{Adapter, LoraConfig, LowRank, Module, Posterior, Sigma, Site, TermShape};
use crate::kl::{GaussianKl, KlForm, PriorStd};
use crate::ops::linear::{Projection, Returning, Source, Wants, backward, forward, input};
use crate::ops::oracle::{assert_close, devices, pass_of, tensor, weight};
use crate::ops::{Device, Precision, Tensor, read};
use crate::pass::Pass;

const SHAPE: (usize, usize) = (37, 24);
const SITE: Site = Site {
    block: 1,
    module: Module::Q,
};
const MEMBERS: usize = 2;

fn numbers(seed: u64, [rows, columns]: [usize; 2], scale: f32) -> Vec<f32> {
    let values = tensor(seed, rows, columns);
    let values = read(&values).unwrap();
    values.iter().map(|value| scale * value).collect()
}

fn adapter(rank: usize) -> Adapter {
    let config = LoraConfig {
        rank,
        alpha: 6.0,
        dropout: 0.0,
        target_modules: Module::ALL.to_vec(),
        posterior: Some(Posterior {
            sigma: Sigma::SquaredLogistic,
            init_eps: 1.0,
            over: Gaussian::Context,
        }),
        seed: 1,
        members: MEMBERS,
        head: None,
    };
    let (outputs, inputs) = SHAPE;
    let shape = TermShape {
        rank,
        inputs,
        outputs,
    };
    let term = |member: usize| {
        let seed = 10 * member as u64;
        let network = Gaussian::Context.factors().iter().zip(seed + 2..);
        LowRank {
            rank,
            inputs,
            outputs,
            a: numbers(seed, [rank, inputs], 0.2),
            b: numbers(seed + 1, [outputs, rank], 0.5),
            rho: None,
            rho_b: None,
            beside: network
                .map(|(&factor, seed)| (factor, numbers(seed, shape.of(factor), 0.2)))
                .collect(),
        }
    };
    let members: Vec<_> = (0..MEMBERS)
        .map(|member| BTreeMap::from([(SITE, term(member))]))
        .collect();
    Adapter::from_terms(config, &members).unwrap()
}

/// Three prompts, of which each member sees two samples.
fn pass(mode: impl FnOnce(&mut crate::pass::Mode)) -> Pass {
    let mut pass = pass_of(&[5, 7, 30], 4);
    pass.mode.context_kl = Some((
        GaussianKl::new(PriorStd::new(0.4).unwrap(), KlForm::Reference),
        0.03,
    ));
    mode(&mut pass.mode);
    for group in &mut pass.all_rows.groups {
        group.member = usize::from(group.sample >= 2);
    }
    pass
}

/// y, dx and the gradients.
fn run(device: Device, adapter: &Adapter, pass: &Pass) -> [Vec<f32>; 3] {
    let rows = pass.all_rows.ids.len();
    let (x, dy) = (
        tensor(1, rows, SHAPE.1),
        Tensor::from((&*tensor(2, rows, SHAPE.0) * 0.1).unwrap()),
    );
    let weight = weight(3, SHAPE, Precision::F32, device);
    let layer = || Projection {
        term: Term::at(adapter, SITE, &pass.all_rows, pass),
        ..Projection::new(SITE, &weight)
    };
    let ahead = layer();
    let input = input(Source::Rows(&x), &[&ahead]).unwrap();
    let [(y, kept)] = forward([&ahead], &input, pass).unwrap();
    let returning = Returning {
        projection: layer(),
        kept: kept.as_ref(),
        dy: &dy,
    };
    let wants = Wants {
        dx: true,
        addend: None,
        pass,
    };
    let mut gradients = adapter.parameters().zeros_like();
    let dx = backward(&[returning], Source::Rows(&x), wants, &mut gradients).unwrap();
    gradients.fetch().unwrap();
    let values = |tensor: &Tensor| read(tensor).unwrap().to_vec();
    [
        values(&y),
        values(&dx.unwrap()),
        gradients.values().host().to_vec(),
    ]
}

fn check(rank: usize, pass: &Pass, what: &str) {
    let adapter = adapter(rank);
    let [y, dx, sums] = run(Device::Reference, &adapter, pass);
    let close = |got: &[f32], expected: &[f32]| {
        let [got, expected] = [got, expected]
            .map(|values| crate::ops::wrap(values.to_vec(), (1, values.len())).unwrap());
        assert_close(&got, &expected, 1e-5);
    };
    for device in devices().into_iter().filter(|it| *it != Device::Reference) {
        let got = run(device, &adapter, pass);
        close(&got[0], &y);
        close(&got[1], &dx);
        let layout = adapter.parameters().layout();
        for member in 0..MEMBERS {
            for parameter in layout.parameters() {
                let from = member * layout.len();
                let part = from + parameter.range.start..from + parameter.range.end;
                close(&got[2][part.clone()], &sums[part]);
            }
        }
        let bits = |of: &[Vec<f32>; 3]| {
            of.each_ref()
                .map(|it| it.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        };
        let again = run(device, &adapter, pass);
        assert!(bits(&again) == bits(&got), "{what} on {}", device.name());
    }
}

#[test]
fn kernels_agree_with_the_reference_however_noise_is_shared_and_repeat_bit_for_bit() {
    let sharings = [
        NoiseSharing::Token,
        NoiseSharing::Example,
        NoiseSharing::Shared,
    ]
    .map(Some);
    for sharing in sharings.into_iter().chain([None]) {
        for antithetic in [false, true] {
            let pass = pass(|mode| {
                mode.sampling = sharing;
                mode.antithetic = antithetic;
            });
            check(3, &pass, &format!("{sharing:?}, {antithetic}"));
        }
    }
}

#[test]
fn kernels_agree_with_the_reference_without_dropout_without_divergence_and_at_higher_ranks() {
    let pass = pass(|mode| {
        mode.dropout = 0.0;
        mode.context_kl = None;
    });
    for rank in [8, 17] {
        check(rank, &pass, &format!("rank {rank}"));
    }
}
