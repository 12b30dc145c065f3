//! Every kernel at every height. A height is a line of the table and nothing else, so that none of
//! these loops can pass over one.

use super::*;
use crate::gemm::step::{PANEL_WIDTH, PanelStep};
use crate::isa::Isa;

const STEPS: usize = 5;

/// Words of whole numbers below 8 in size, different for each place.
fn words(format: Format, count: usize, salt: usize, sign: f32) -> Vec<u32> {
    let number = |at: usize| {
        let size = ((at * 7 + at / 5 + salt) % 8) as u8;
        let sign = if at.is_multiple_of(3) { sign } else { 1.0 };
        f32::from(size) * sign
    };
    let word = |at: usize| match format {
        Format::Float | Format::RoundedFloat => number(at).to_bits(),
        Format::Bf16Pair => {
            let half = |at| number(at).to_bits() >> 16;
            half(2 * at) | half(2 * at + 1) << 16
        }
        Format::Int8Quad => {
            u32::from_le_bytes([0, 1, 2, 3].map(|i| (number(4 * at + i) as i8).cast_unsigned()))
        }
        Format::Int16Pair => {
            let half = |at| u32::from((number(at) as i16).cast_unsigned());
            half(2 * at) | half(2 * at + 1) << 16
        }
    };
    (0..count).map(word).collect()
}

/// The product of two words, by the definition of their format.
fn product(format: Format, x: u32, w: u32) -> f32 {
    match format {
        Format::Float | Format::RoundedFloat => f32::from_bits(x) * f32::from_bits(w),
        Format::Bf16Pair => [0, 16]
            .map(|shift| f32::from_bits(x >> shift << 16) * f32::from_bits(w >> shift << 16))
            .iter()
            .sum(),
        Format::Int8Quad => x
            .to_le_bytes()
            .into_iter()
            .zip(w.to_le_bytes())
            .map(|(x, w)| f32::from(x) * f32::from(w.cast_signed()))
            .sum(),
        Format::Int16Pair => [0, 16]
            .map(|shift| ((x >> shift) as i16, (w >> shift) as i16))
            .iter()
            .map(|(x, w)| f32::from(*x) * f32::from(*w))
            .sum(),
    }
}

struct AllHeights {
    format: Format,
    isa: Available,
}

impl TileWork for AllHeights {
    fn run<K: TileKernel>(self, kernel: K) {
        let Self { format, isa } = self;
        let panel: Vec<PanelStep> = words(format, STEPS * PANEL_WIDTH, 3, -1.0)
            .as_chunks()
            .0
            .iter()
            .map(|words| PanelStep(*words))
            .collect();
        for height in Height::ALL {
            let rows = height.rows();
            let x = words(format, STEPS * rows, 1, 1.0);
            let mut sums = Accumulators([[f32::NAN; PANEL_WIDTH]; MAX_HEIGHT]);
            kernel.tile(height, &x, &panel, &mut sums);
            for (row, sums) in sums.0.iter().enumerate() {
                for (column, sum) in sums.iter().enumerate() {
                    let case = format!("{format:?} on {isa:?}: {height:?} ({row}, {column})");
                    if row >= rows {
                        assert!(sum.is_nan(), "{case} is not the tile's");
                        continue;
                    }
                    let expected: f32 = (0..STEPS)
                        .map(|t| product(format, x[t * rows + row], panel[t].0[column]))
                        .sum();
                    assert_eq!(*sum, expected, "{case}");
                }
            }
        }
    }
}

#[test]
fn every_kernel_computes_every_height() {
    for isa in Available::all() {
        for format in [
            Format::Float,
            Format::RoundedFloat,
            Format::Bf16Pair,
            Format::Int8Quad,
            Format::Int16Pair,
        ] {
            let done = run(isa, format, AllHeights { format, isa });
            let expected = match format {
                Format::Bf16Pair => isa.includes(Isa::Avx512Bf16),
                Format::Int16Pair => isa.includes(Isa::Avx2),
                _ => true,
            };
            assert_eq!(done.is_ok(), expected, "{format:?} on {isa:?}");
        }
    }
}
