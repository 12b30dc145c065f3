//! The heights of tiles, in one table: from it come the type, its order, and every kernel's choice.

use std::ops::Range;

/// Calls a macro with `$context` and the table, the tallest height first.
///
/// A line is a variant, its rows, and how kernels whose registers do not hold the sums of a tall
/// tile cut them: into parts from these rows on, of so many rows each. On AVX2, which has sixteen,
/// half a part's columns need two for each row, beside four for operands and products; on NEON
/// without dot products a quarter's need four of 32.
macro_rules! heights {
    ($table:ident $context:tt) => {
        $table! {
            $context
            Twelve 12 { 0, 6: 6 },
            Eight   8 { 0, 4: 4 },
            Four    4 { 0: 4 },
            Two     2 { 0: 2 },
            One     1 { 0: 1 },
        }
    };
}

/// Evaluates an expression with the rows of a height as a constant: `at_height!(height, H =>
/// f::<H>())`.
macro_rules! at_height {
    ($height:expr, $rows:ident => $body:expr) => {
        $crate::gemm::tiles::heights!(at_height ($height, $rows, $body))
    };
    (($height:expr, $rows:ident, $body:expr) $($variant:ident $count:literal $parts:tt,)+) => {
        match $height {
            $(Height::$variant => {
                const $rows: usize = $count;
                $body
            })+
        }
    };
}

/// Evaluates an expression for each part of a height, with its rows, and the first row and the rows
/// of the part as constants: `in_parts!(height, ALL, FROM, PART => f::<ALL, FROM, PART>())`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! in_parts {
    ($height:expr, $rows:ident, $from:ident, $part:ident => $body:expr) => {
        $crate::gemm::tiles::heights!(in_parts ($height, $rows, $from, $part, $body))
    };
    (($height:expr, $rows:ident, $from:ident, $part:ident, $body:expr)
        $($variant:ident $count:literal { $($first:literal),+: $size:literal },)+
    ) => {
        match $height {
            $(Height::$variant => {
                const { assert!([$($first),+].len() * $size == $count) };
                $({
                    const $rows: usize = $count;
                    const $from: usize = $first;
                    const $part: usize = $size;
                    $body;
                })+
            })+
        }
    };
}

macro_rules! define {
    (() $($variant:ident $count:literal $parts:tt,)+) => {
        /// Rows of a tile.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(in super::super) enum Height {
            $($variant,)+
        }

        impl Height {
            /// All of them, the tallest first.
            pub(in super::super) const ALL: [Self; [$($count),+].len()] = [$(Self::$variant),+];

            /// As a number.
            #[inline(always)]
            pub(in super::super) const fn rows(self) -> usize {
                match self {
                    $(Self::$variant => $count,)+
                }
            }
        }
    };
}
heights!(define());

pub(in super::super) use at_height;
pub(in super::super) use heights;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use in_parts;

/// Rows of the tallest tile: 12 × 32 sums fill 24 of the 32 vector registers of AVX-512.
pub(in super::super) const MAX_HEIGHT: usize = Height::ALL[0].rows();

// Any number of rows is a sum of heights, taken greedily.
const _: () = {
    let mut index = 1;
    while index < Height::ALL.len() {
        assert!(Height::ALL[index - 1].rows() > Height::ALL[index].rows());
        index += 1;
    }
    assert!(Height::ALL[index - 1].rows() == 1);
};

impl Height {
    /// The tallest tile of at most so many rows, of which there is at least one.
    #[inline(always)]
    pub(in super::super) fn within(rows: usize) -> Self {
        let fits = |height: &Self| height.rows() <= rows;
        Self::ALL.into_iter().find(fits).unwrap_or(Self::One)
    }
}

/// Where a tile lies among the rows.
#[derive(Clone, Copy)]
pub(in super::super) struct TileRows {
    pub(in super::super) first: usize,
    pub(in super::super) height: Height,
}

impl TileRows {
    #[inline(always)]
    pub(in super::super) fn range(self) -> Range<usize> {
        self.first..self.first + self.height.rows()
    }
}

/// The tiles of some rows, from a tile's first on.
#[inline(always)]
pub(in super::super) fn tiles(rows: Range<usize>) -> impl Iterator<Item = TileRows> {
    let mut first = rows.start;
    std::iter::from_fn(move || {
        (first < rows.end).then(|| {
            let height = Height::within(rows.end - first);
            let tile = TileRows { first, height };
            first += height.rows();
            tile
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_cut_into_tiles_from_the_top() {
        for rows in 0..100 {
            let mut next = 7;
            let mut last = MAX_HEIGHT;
            for tile in tiles(7..7 + rows) {
                assert_eq!(tile.first, next);
                assert!(tile.height.rows() <= last, "{rows}");
                (next, last) = (tile.range().end, tile.height.rows());
            }
            assert_eq!(next, 7 + rows);
        }
    }
}
