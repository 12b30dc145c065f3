//! Products with weights as files store them, on every device: what a type's values give, forward
//! and back.

use std::collections::BTreeMap;

use super::super::super::oracle::{Terms, assert_close, bits, devices, golden, pass_of, tensor};
use super::super::*;
use crate::adapter::Module;
use crate::ops::{Device, Precision};
use crate::quantization::Quantization;
use crate::weights::{HostTensor, StoredMatrix, TensorType};

const SITE: Site = Site {
    block: 0,
    module: Module::Q,
};

/// Types of blocks, and where these have their scales in half precision.
const BLOCKS: [(TensorType, &[usize]); 10] = [
    (TensorType::Q4_0, &[0]),
    (TensorType::Q4_1, &[0, 2]),
    (TensorType::Q5_0, &[0]),
    (TensorType::Q5_1, &[0, 2]),
    (TensorType::Q8_0, &[0]),
    (TensorType::Q2K, &[80, 82]),
    (TensorType::Q3K, &[108]),
    (TensorType::Q4K, &[0, 2]),
    (TensorType::Q5K, &[0, 2]),
    (TensorType::Q6K, &[208]),
];

/// A matrix of a type whose integers are noise and whose scales are small.
fn blocks(kind: TensorType, halves: &[usize], shape: (usize, usize)) -> StoredMatrix {
    let (values, bytes) = kind.block();
    let mut state = 7_u64;
    let mut stored: Vec<u8> = (0..shape.0 * shape.1 / values * bytes)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    for (index, block) in stored.chunks_exact_mut(bytes).enumerate() {
        for (place, &at) in halves.iter().enumerate() {
            let scale = 0x2400 + 16 * (index % 32 + place) as u16; // 1/64 and more
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    StoredMatrix::owned(stored, kind, shape).unwrap()
}

/// One matrix of each type, and int8.
fn all(shape: (usize, usize)) -> BTreeMap<&'static str, StoredMatrix> {
    let numbers = HostTensor {
        shape: vec![shape.0, shape.1],
        data: tensor(3, shape.0, shape.1).to_vec().unwrap(),
    };
    let plain = StoredMatrix::from_tensor(&numbers).unwrap();
    let halves = |kind| {
        let bytes = numbers.data.iter().flat_map(|&value| match kind {
            TensorType::F16 => half::f16::from_f32(value).to_le_bytes(),
            _ => half::bf16::from_f32(value).to_le_bytes(),
        });
        StoredMatrix::owned(bytes.collect(), kind, shape).unwrap()
    };
    let quantized = |to: Quantization| to.quantize(plain.clone()).unwrap();
    let of_blocks = BLOCKS.map(|(kind, at)| (kind.name(), blocks(kind, at, shape)));
    let others = [
        ("F16", halves(TensorType::F16)),
        ("BF16", halves(TensorType::Bf16)),
        ("int8", quantized(Quantization::Int8)),
        ("NF4", quantized(Quantization::Nf4)),
        ("F32", plain.clone()),
    ];
    of_blocks.into_iter().chain(others).collect()
}

/// x·Wᵀ, and dy·W.
fn products(
    stored: &StoredMatrix,
    (precision, device): (Precision, Device),
    [x, dy]: [&Tensor; 2],
) -> [Tensor; 2] {
    let pass = pass_of(&[2], 1);
    let weight = Weight::new(stored.clone(), precision, device).unwrap();
    let layer = Projection::new(SITE, &weight);
    let read = input(Source::Rows(x), &[&layer]).unwrap();
    let [(y, _)] = forward([&layer], &read, &pass).unwrap();
    let returning = Returning {
        projection: Projection::new(SITE, &weight),
        kept: None,
        dy,
    };
    let wants = Wants {
        dx: true,
        addend: None,
        pass: &pass,
    };
    let mut none = Terms::new(&[(SITE, (1, 1))]).zeros();
    let dx = backward(&[returning], Source::Rows(x), wants, &mut none).unwrap();
    [y, dx.unwrap()]
}

#[test]
fn every_type_has_the_products_of_its_values_forward_and_back() {
    let (n, shape) = (3, (10, 512));
    let operands = [&tensor(1, n, shape.1), &tensor(2, n, shape.0)];
    for (name, stored) in all(shape) {
        for precision in [Precision::F32, Precision::Bf16] {
            let expected = products(&stored, (precision, Device::Reference), operands);
            for device in devices() {
                let got = products(&stored, (precision, device), operands);
                for (got, expected) in got.iter().zip(&expected) {
                    assert_close(got, expected, 1e-5);
                }
                let again = products(&stored, (precision, device), operands);
                let of = |both: [Tensor; 2]| both.map(|tensor| bits(&tensor));
                assert_eq!(of(again), of(got), "{name} on {}", device.name());
            }
        }
    }
}

/// `tools/goldens/nf4.py`: products with the identity are the values themselves.
#[test]
fn nf4_has_the_values_of_bitsandbytes_on_every_device() {
    let golden = golden("nf4.json");
    let numbers = |name: &str| -> Vec<f32> {
        let words = golden[name].as_array().unwrap().iter();
        words
            .map(|word| f32::from_bits(word.as_u64().unwrap() as u32))
            .collect()
    };
    let size = |name: &str| golden[name].as_u64().unwrap() as usize;
    let (m, k) = (size("rows"), size("columns"));
    let given = HostTensor {
        shape: vec![m, k],
        data: numbers("values"),
    };
    let stored = StoredMatrix::from_tensor(&given).unwrap();
    let stored = Quantization::Nf4.quantize(stored).unwrap();
    assert_eq!(stored.type_name(), "NF4");
    let expected = numbers("decoded");
    let identity = |n: usize| -> Tensor {
        let values = (0..n * n).map(|at| f32::from(at % (n + 1) == 0));
        crate::ops::wrap(values.collect(), (n, n)).unwrap()
    };
    for device in devices() {
        let operands = [&identity(k), &identity(m)];
        let [transposed, w] = products(&stored, (Precision::F32, device), operands);
        assert_eq!(w.to_vec().unwrap(), expected, "{}", device.name());
        let transposed = transposed.to_vec().unwrap();
        let of = |at: usize| transposed[at % k * m + at / k];
        let again: Vec<f32> = (0..m * k).map(of).collect();
        assert_eq!(again, expected, "{}", device.name());
    }
}
