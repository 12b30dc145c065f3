//! Which elements dropout takes from rows of a matrix: one bit each, by Philox.
//!
//! ```text
//! element j of a row is dropped where its half is below t: with probability t/2¹⁶
//! its half: of word ⌊j/2⌋ mod 4 of Philox([⌊j/8⌋, position, row, tag], key), the low one of even j
//! ```

use rayon::prelude::*;

use crate::philox;
use crate::simd::{self, Kernel, Level, WIDTH};

/// Rows of one task.
const ROWS: usize = 32;

/// Who draws the bits of a row.
#[derive(Clone, Copy)]
pub struct RowDraw {
    /// The last three words of the counter.
    pub counter: [u32; 3],
    /// Of the generator.
    pub key: [u32; 2],
}

/// Sets the bits of what is dropped of rows (n), and past the width any: `words` (n, ⌈width/32⌉).
pub fn dropped(words: &mut [u32], width: usize, below: u32, rows: &[RowDraw]) {
    let stride = width.div_ceil(u32::BITS as usize);
    words
        .par_chunks_mut((ROWS * stride).max(1))
        .zip(rows.par_chunks(ROWS))
        .for_each(|(words, rows)| {
            for (words, &draw) in words.chunks_exact_mut(stride).zip(rows) {
                simd::run(Row { words, below, draw });
            }
        });
}

struct Row<'a> {
    words: &'a mut [u32],
    below: u32,
    draw: RowDraw,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let [position, row, tag] = self.draw.counter.map(|word| [word; WIDTH]);
        for (chunk, words) in self.words.chunks_mut(WIDTH / 4).enumerate() {
            let blocks = std::array::from_fn(|lane| (WIDTH * chunk + lane) as u32);
            let drawn = philox::lanes([blocks, position, row, tag], self.draw.key);
            // Eight bits of each lane.
            let mut bits = [0; WIDTH];
            for (at, drawn) in drawn.iter().enumerate() {
                for lane in 0..WIDTH {
                    let low = u32::from(drawn[lane] & 0xffff < self.below);
                    let high = u32::from(drawn[lane] >> 16 < self.below);
                    bits[lane] |= (low | (high << 1)) << (2 * at);
                }
            }
            for (word, bits) in words.iter_mut().zip(bits.as_chunks::<4>().0) {
                *word = u32::from_le_bytes(bits.map(|bits| bits as u8));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_that_of_its_half_on_every_instruction_set_and_for_every_tail() {
        let below = 20_000;
        for width in [1_usize, 8, 31, 32, 100, 128, 129, 300] {
            let draw = |row: usize| RowDraw {
                counter: [row as u32 + 3, 70, 9],
                key: [11, 22],
            };
            let stride = width.div_ceil(32);
            let mut found = vec![0; 40 * stride];
            let rows: Vec<_> = (0..40).map(draw).collect();
            dropped(&mut found, width, below, &rows);
            for isa in crate::isa::Available::all() {
                for (row, words) in found.chunks_exact(stride).enumerate() {
                    let mut own = vec![0; stride];
                    let kernel = Row {
                        words: &mut own,
                        below,
                        draw: draw(row),
                    };
                    simd::run_on(isa, kernel);
                    assert_eq!(own, words);
                }
            }
            for row in 0..40 {
                for j in 0..width {
                    let RowDraw { counter, key } = draw(row);
                    let [position, identity, tag] = counter;
                    let counter = [(j / 8) as u32, position, identity, tag];
                    let word = philox::philox4x32_10(counter, key)[j / 2 % 4];
                    let half = (word >> (16 * (j % 2))) & 0xffff;
                    let bit = found[row * stride + j / 32] >> (j % 32) & 1;
                    assert_eq!(bit == 1, half < below, "{width} {row} {j}");
                }
            }
        }
    }
}
