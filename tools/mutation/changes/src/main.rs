//! `changes FROM TO UNCOMPILABLE FILE…`: reads each file below FROM, writes it below TO with every
//! change in it, of which `crate::mutant(NUMBER)` wakes one, and prints the list as JSON.
//! UNCOMPILABLE is a file of numbers, one a line, which are listed but not written.
//!
//! So a thousand changes cost one build (mutant schemata; Untch, Offutt, Harrold, ISSTA 1993),
//! where a tool that edits the source needs one build for each. The changes are those of
//! cargo-mutants (values of functions, operators, signs, arms, fields), and three more which
//! mathematics asks for: a term or factor left out, a function such as `sqrt` left out, a flag
//! turned over.

mod find;
mod forms;
mod values;
mod write;

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use find::Change;
use serde_json::{Value, json};
use write::Written;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("FROM TO UNCOMPILABLE FILE…");
    let (from, to, uncompilable) = (next()?, next()?, next()?);
    let uncompilable: HashSet<usize> = fs::read_to_string(uncompilable)?
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut list = Vec::new();
    for file in arguments {
        let source = fs::read_to_string(Path::new(&from).join(&file))?;
        let changes = find::changes(&source).map_err(|error| format!("{file}: {error}"))?;
        let first = list.len() + 1;
        let numbered: Vec<_> = (first..).zip(&changes).collect();
        let guarded: Vec<_> = numbered
            .iter()
            .copied()
            .filter(|(number, _)| !uncompilable.contains(number))
            .collect();
        let (text, places) = write::guarded(&source, &guarded);
        let path = Path::new(&to).join(&file);
        // What is as it was keeps its age, and is not compiled again.
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(path, text)?;
        }
        list.extend(numbered.iter().map(|&(number, change)| {
            let place = places.iter().find(|place| place.number == number);
            described(&file, &source, number, change, place)
        }));
    }
    println!("{}", Value::Array(list));
    Ok(())
}

/// `text` and `around` are where it stands in what was written, as compilers say it, in bytes.
fn described(
    file: &str,
    source: &str,
    number: usize,
    change: &Change,
    place: Option<&Written>,
) -> Value {
    let line = source[..change.at.start].matches('\n').count() + 1;
    json!({
        "number": number,
        "file": file,
        "line": line,
        "function": change.function,
        "kind": change.kind,
        "was": change.was,
        "now": change.now,
        "untried": change.untried,
        "text": place.map(|place| [place.text.start, place.text.end]),
        "around": place.map(|place| [place.around.start, place.around.end]),
    })
}
