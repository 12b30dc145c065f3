mod stored;

use super::super::oracle::{
    Terms, assert_close, assert_parameters_close, devices, pass_of, tensor, weight,
};
use super::*;
use crate::adapter::Module;
use crate::ops::{Device, Precision, read};

/// Widths that fill no panel.
const SHAPES: [(usize, usize); 2] = [(37, 24), (50, 24)];

fn sites() -> Vec<(Site, (usize, usize))> {
    let of = |(module, shape)| (Site { block: 1, module }, shape);
    [Module::Q, Module::V]
        .into_iter()
        .zip(SHAPES)
        .map(of)
        .collect()
}

/// y of both layers, dx and the gradients of their terms.
type Computed = ([Tensor; 2], Tensor, Parameters);

fn run(device: Device, precision: Precision, dropout: f32) -> Computed {
    let mut pass = pass_of(&[5, 7], 2);
    pass.mode.dropout = dropout;
    let sites = sites();
    let terms = Terms::new(&sites);
    let x = Tensor::from((&*tensor(1, 24, 24) * 4.0).unwrap()); // some are large for int8-mixed
    let weights = SHAPES.map(|shape| weight(shape.0 as u64, shape, precision, device));
    let bias = tensor(5, 1, 37).reshape(37).unwrap();
    let addend = tensor(6, 24, 50);
    let layers = || {
        let [q, v] = [0, 1].map(|index: usize| Projection {
            term: terms.term(sites[index].0, &pass),
            ..Projection::new(sites[index].0, &weights[index])
        });
        let q = Projection {
            bias: Some(&bias),
            ..q
        };
        let v = Projection {
            addend: Some(&addend),
            ..v
        };
        [q, v]
    };
    let forward_layers = layers();
    let layers_of = forward_layers.each_ref();
    let input = input(Source::Rows(&x), &layers_of).unwrap();
    let outputs = forward(layers_of, &input, &pass).unwrap();
    let dys = [tensor(7, 24, 37), tensor(8, 24, 50)];
    let returning: Vec<_> = layers()
        .into_iter()
        .zip(&dys)
        .zip(&outputs)
        .map(|((projection, dy), (_, kept))| Returning {
            projection,
            kept: kept.as_ref(),
            dy,
        })
        .collect();
    let wants = Wants {
        dx: true,
        addend: Some(x.clone()),
        pass: &pass,
    };
    let mut gradients = terms.zeros();
    let dx = backward(&returning, Source::Rows(&x), wants, &mut gradients).unwrap();
    drop(returning);
    gradients.fetch().unwrap();
    (outputs.map(|(y, _)| y), dx.unwrap(), gradients)
}

#[test]
fn kernels_agree_with_the_reference_in_every_precision() {
    for (precision, dropout) in Precision::ALL
        .into_iter()
        .flat_map(|p| [(p, 0.0), (p, 0.25)])
    {
        let (expected_y, expected_dx, expected) = run(Device::Reference, precision, dropout);
        for device in devices()
            .into_iter()
            .filter(|device| *device != Device::Reference)
        {
            let (y, dx, gradients) = run(device, precision, dropout);
            // Both round the same operands in the same way; sums differ in their last bits.
            for (y, expected) in y.iter().zip(&expected_y) {
                assert_close(y, expected, 1e-5);
            }
            assert_close(&dx, &expected_dx, 1e-5);
            assert_parameters_close(&gradients, &expected, 1e-5);
        }
    }
}

#[test]
fn precisions_round_differently() {
    let [exact, bf16, int8, mixed] = Precision::ALL.map(|precision| {
        let [y, _] = run(Device::Reference, precision, 0.0).0;
        read(&y).unwrap().to_vec()
    });
    let distance = |other: &[f32]| -> f32 {
        let apart = exact.iter().zip(other).map(|(x, y)| (x - y).abs());
        apart.fold(0.0, f32::max)
    };
    let (bf16, int8, mixed) = (distance(&bf16), distance(&int8), distance(&mixed));
    assert!(
        0.0 < bf16 && bf16 < int8 && 0.0 < mixed && mixed < int8,
        "{bf16} {int8} {mixed}"
    );
}

#[test]
fn weights_of_another_device_are_refused() {
    let (shape, site) = (SHAPES[0], sites()[0].0);
    let weights = [Device::Cpu, Device::Reference];
    let weights = weights.map(|device| weight(1, shape, Precision::F32, device));
    let [cpu, reference] = weights
        .each_ref()
        .map(|weight| Projection::new(site, weight));
    let x = tensor(1, 24, 24);
    let input = input(Source::Rows(&x), &[&cpu]).unwrap();
    let refused = forward([&reference], &input, &pass_of(&[24], 1))
        .err()
        .unwrap();
    assert_eq!(refused.code(), "BPEFT_INVALID_INPUT");
    assert!(refused.to_string().contains("one device"), "{refused}");
}
