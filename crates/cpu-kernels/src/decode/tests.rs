use std::borrow::Cow;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};

use super::four_bits::{RUN_LENGTH, Run};
use crate::gemm::{Direction, Epilogue, FrozenMatrix, Precision};
use crate::isa::{Available, Isa};
use crate::simd::{Kernel, Level, run_on};
use crate::stored::{HostTensor, StoredMatrix, TensorType};

struct Decode<'a>(TensorType, &'a [u8], &'a mut [f32]);

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        self.0.dequantize::<L>(std::iter::once((self.1, self.2)));
    }
}

/// Bytes of a linear congruential generator.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn every_bit_pattern_means_what_it_means_to_candle() {
    for (ours, theirs) in [
        (TensorType::F32, GgmlDType::F32),
        (TensorType::F16, GgmlDType::F16),
        (TensorType::Bf16, GgmlDType::BF16),
        (TensorType::Q4_0, GgmlDType::Q4_0),
        (TensorType::Q4_1, GgmlDType::Q4_1),
        (TensorType::Q5_0, GgmlDType::Q5_0),
        (TensorType::Q5_1, GgmlDType::Q5_1),
        (TensorType::Q8_0, GgmlDType::Q8_0),
        (TensorType::Q2K, GgmlDType::Q2K),
        (TensorType::Q3K, GgmlDType::Q3K),
        (TensorType::Q4K, GgmlDType::Q4K),
        (TensorType::Q5K, GgmlDType::Q5K),
        (TensorType::Q6K, GgmlDType::Q6K),
    ] {
        let count = 256 * 64;
        assert_eq!(ours.block(), (theirs.block_size(), theirs.type_size()));
        let bytes = noise(ours.bytes(count).unwrap());
        let storage = QStorage::from_data(Cow::Borrowed(&bytes), &Device::Cpu, theirs).unwrap();
        let expected = QTensor::new(storage, count).unwrap();
        let expected = expected.dequantize(&Device::Cpu).unwrap();
        let expected = expected.to_vec1::<f32>().unwrap();
        for path in Available::all() {
            let mut values = vec![0.0; count];
            let decode = Decode(ours, &bytes, &mut values);
            run_on(path, decode);
            for (i, (value, expected)) in values.iter().zip(&expected).enumerate() {
                let same = value.to_bits() == expected.to_bits();
                assert!(
                    same || (value.is_nan() && expected.is_nan()),
                    "{} value {i} on {path:?}: {value} instead of {expected}",
                    ours.name()
                );
            }
        }
    }
}

const FOUR_BITS: [TensorType; 4] = [
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q4K,
    TensorType::Nf4,
];

struct ByRuns<'a>(TensorType, &'a [u8], &'a mut [f32]);

impl Kernel for ByRuns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        for (index, values) in self
            .2
            .as_chunks_mut::<RUN_LENGTH>()
            .0
            .iter_mut()
            .enumerate()
        {
            let Run { table, indices } = self.0.runs(self.1).run::<L>(index);
            let mut sixteen = [0.0; 16];
            L::store(table, &mut sixteen);
            *values = indices.map(|index| sixteen[usize::from(index)]);
        }
    }
}

#[test]
fn runs_hold_the_values_of_their_blocks() {
    for kind in FOUR_BITS {
        assert!(kind.has_runs());
        let count = 256 * 64;
        let bytes = noise(kind.bytes(count).unwrap());
        for path in Available::all() {
            let (mut values, mut runs) = (vec![0.0; count], vec![0.0; count]);
            run_on(path, Decode(kind, &bytes, &mut values));
            run_on(path, ByRuns(kind, &bytes, &mut runs));
            for (i, (run, value)) in runs.iter().zip(&values).enumerate() {
                let same = run.to_bits() == value.to_bits();
                assert!(
                    same || (run.is_nan() && value.is_nan()),
                    "{} value {i} on {path:?}: {run} instead of {value}",
                    kind.name()
                );
            }
        }
    }
    assert!(!TensorType::Q8_0.has_runs());
}

/// A matrix of blocks whose integers are noise and whose scales are small.
pub(crate) fn four_bit_matrix(kind: TensorType, shape: (usize, usize)) -> StoredMatrix {
    let (values, block_bytes) = kind.block();
    let mut bytes = noise(shape.0 * shape.1 / values * block_bytes);
    for (index, block) in bytes.chunks_exact_mut(block_bytes).enumerate() {
        let scale = 0x2400 + 16 * (index % 32) as u16; // a half: 1/64 and more
        match kind {
            TensorType::Q4_0 => block[..2].copy_from_slice(&scale.to_le_bytes()),
            TensorType::Nf4 => {
                block[..4].copy_from_slice(&(0.01 * (1 + index % 7) as f32).to_le_bytes());
            }
            _ => {
                block[..2].copy_from_slice(&scale.to_le_bytes());
                block[2..4].copy_from_slice(&0x2c01_u16.to_le_bytes());
            }
        }
    }
    StoredMatrix::owned(bytes, kind, shape).unwrap()
}

#[test]
fn products_read_runs_as_the_values_of_their_blocks() {
    let (m, n, k) = (13, 67, 512);
    let wave =
        |length: usize| -> Vec<f32> { (0..length).map(|i| (i as f32 * 0.37).sin()).collect() };
    for kind in FOUR_BITS {
        let stored = four_bit_matrix(kind, (n, k));
        let mut data = vec![0.0; n * k];
        for (row, values) in data.chunks_exact_mut(k).enumerate() {
            stored.row(row, values);
        }
        let shape = vec![n, k];
        let plain = StoredMatrix::from_tensor(&HostTensor { shape, data }).unwrap();
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let [blocks, plain] = [&stored, &plain]
                .map(|stored| FrozenMatrix::new(stored.clone(), precision).unwrap());
            for path in Isa::ALL.into_iter().filter(|path| path.is_available()) {
                for (direction, depth, cols) in
                    [(Direction::Forward, k, n), (Direction::Backward, n, k)]
                {
                    let product = |matrix: &FrozenMatrix| {
                        let mut out = vec![0.0; m * cols];
                        let x = matrix.stage_for(path, direction, &wave(m * depth), m);
                        matrix
                            .multiply(direction, &x.unwrap(), &mut out, &Epilogue::NONE)
                            .unwrap();
                        out
                    };
                    let what = (kind, precision, path, direction);
                    assert!(product(&blocks) == product(&plain), "{what:?}");
                    assert!(product(&blocks).iter().any(|y| y.abs() > 0.1), "{what:?}");
                }
            }
        }
    }
}
