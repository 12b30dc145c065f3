//! Rules for the arguments of products.

use super::packing::{Operand, WeightPanels};
use crate::{InvalidInput, Result};

/// An operand belongs to the panels that it was staged for.
pub(super) fn staged(operand: &Operand, panels: WeightPanels<'_>) -> Result<()> {
    let (expected, got) = (panels.depth(), operand.depth());
    if *got == expected {
        return Ok(());
    }
    Err(InvalidInput(format!(
        "the operand must be staged as {:?} of depth {:?}, got {:?} of depth {:?}",
        expected.format, expected.parts, got.format, got.parts
    )))
}

/// A matrix holds as many values as the product of its sizes, which the message names.
pub(super) fn matrix(
    what: &str,
    length: usize,
    names: [&str; 2],
    [rows, columns]: [usize; 2],
) -> Result<()> {
    if rows.checked_mul(columns) == Some(length) {
        return Ok(());
    }
    let [rows_name, columns_name] = names;
    Err(InvalidInput(format!(
        "{what} must hold {rows_name}·{columns_name} = {rows}·{columns} values, got {length}"
    )))
}
