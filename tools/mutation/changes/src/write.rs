//! The source with its changes. All of it is insertion, so changes nest: `a + b` becomes
//! `(if crate::mutant(1) { (a) - (b) } else { a + b })`, and what stands within `a` goes on inside
//! of the last branch.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::find::{Change, Form};

/// Where a change stands in the text that was written: itself, and the whole of its place.
pub struct Written {
    pub number: usize,
    pub text: Range<usize>,
    pub around: Range<usize>,
}

/// Among insertions at one position: what closes comes before what opens, inner places close and
/// outer ones open first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Closes(Reverse<usize>, Form),
    Opens(Reverse<usize>, Reverse<Form>),
}

/// Pieces of text, each with the change that it belongs to.
type Pieces = Vec<(Option<usize>, String)>;

struct Insertion {
    position: usize,
    order: Order,
    place: usize,
    pieces: Pieces,
}

/// Of one place all forms are asked in turn; at most one change is awake in a process.
pub fn guarded(source: &str, changes: &[(usize, &Change)]) -> (String, Vec<Written>) {
    let mut places: BTreeMap<(usize, usize, Form), Vec<(usize, &Change)>> = BTreeMap::new();
    for &(number, change) in changes {
        if change.untried.is_none() {
            let key = (change.at.start, change.at.end, change.form);
            places.entry(key).or_default().push((number, change));
        }
    }
    let mut insertions = Vec::new();
    for (place, (&(start, end, form), changes)) in places.iter().enumerate() {
        let (opening, closing) = texts(form, changes);
        insertions.push(Insertion {
            position: start,
            order: Order::Opens(Reverse(end), Reverse(form)),
            place,
            pieces: opening,
        });
        insertions.push(Insertion {
            position: end,
            order: Order::Closes(Reverse(start), form),
            place,
            pieces: vec![(None, closing.into())],
        });
    }
    insertions
        .sort_by(|one, other| (one.position, &one.order).cmp(&(other.position, &other.order)));
    joined(source, &insertions)
}

fn joined(source: &str, insertions: &[Insertion]) -> (String, Vec<Written>) {
    let (mut text, mut read) = (String::new(), 0);
    let mut written: Vec<Written> = Vec::new();
    let mut of_place: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for insertion in insertions {
        text.push_str(&source[read..insertion.position]);
        read = insertion.position;
        let start = text.len();
        for (number, piece) in &insertion.pieces {
            let from = text.len();
            text.push_str(piece);
            if let &Some(number) = number {
                of_place
                    .entry(insertion.place)
                    .or_default()
                    .push(written.len());
                let (text, around) = (from..text.len(), start..text.len());
                written.push(Written {
                    number,
                    text,
                    around,
                });
            }
        }
        // Last when it closes.
        for &index in of_place.get(&insertion.place).into_iter().flatten() {
            written[index].around.end = text.len();
        }
    }
    text.push_str(&source[read..]);
    (text, written)
}

/// What opens a place, and what closes it.
fn texts(form: Form, changes: &[(usize, &Change)]) -> (Pieces, &'static str) {
    let each = |text: &dyn Fn(usize, &str) -> String| -> Pieces {
        let piece = |&(number, change): &(usize, &Change)| (number, text(number, &change.now));
        changes
            .iter()
            .map(piece)
            .map(|(number, text)| (Some(number), text))
            .collect()
    };
    let between = |before: &str, pieces: Pieces, after: &str| -> Pieces {
        [
            vec![(None, before.into())],
            pieces,
            vec![(None, after.into())],
        ]
        .concat()
    };
    match form {
        Form::Expression => {
            let choices =
                each(&|number, now| format!("if crate::mutant({number}) {{ {now} }} else "));
            (between("(", choices, "{ "), " })")
        }
        Form::Guard => {
            let choices = each(&|number, now| match now {
                "true" => format!("crate::mutant({number}) || "),
                _ => format!("!crate::mutant({number}) && "),
            });
            (between("(", choices, "("), "))")
        }
        Form::Arm => (
            each(&|number, _| format!(" if !crate::mutant({number})")),
            "",
        ),
        Form::Body => (
            each(&|number, now| format!(" if crate::mutant({number}) {{ return {now}; }}")),
            "",
        ),
    }
}
