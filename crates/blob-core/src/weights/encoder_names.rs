//! An encoder's tensors from the names of its file to the engine's.

use std::collections::BTreeMap;

use super::{Checkpoint, Entry};
use crate::adapter::{Module, Site};
use crate::backbone::Family;

/// How old files call the parts of a layer norm.
const OLD_PARTS: [(&str, &str); 2] = [(".gamma", ".weight"), (".beta", ".bias")];

/// Tables of indices that old versions of transformers stored.
pub(super) fn is_index(name: &str) -> bool {
    name.ends_with("embeddings.position_ids") || name.ends_with("embeddings.token_type_ids")
}

impl Checkpoint {
    /// Renames the tensors, leaves out heads of other tasks, and sees whether there is one of ours.
    pub(super) fn settle_encoder(&mut self, family: Family) {
        let bare = self.config.with_classes(1); // a head's names do not depend on its size
        let mut own = BTreeMap::new();
        for (name, _) in bare.tensors() {
            let published = bare.published(&name);
            if let Some(of_base) = published.strip_prefix(family.prefix()) {
                own.insert(of_base.to_owned(), name.clone());
            }
            own.insert(published, name);
        }
        let mut left_out = Vec::new();
        let mut tensors = BTreeMap::new();
        for (name, entry) in std::mem::take(&mut self.tensors) {
            let new = OLD_PARTS.iter().find_map(|(old, new)| {
                let layer = name.strip_suffix(old)?;
                Some(format!("{layer}{new}"))
            });
            match own.get(new.as_deref().unwrap_or(&name)) {
                Some(own) => tensors.insert(own.clone(), entry),
                None if family.leaves_out(&name) => {
                    left_out.push(name);
                    continue;
                }
                None => tensors.insert(name, entry),
            };
        }
        self.tensors = tensors;
        self.settle_classes();
        if !left_out.is_empty() {
            self.notices.push(format!(
                "left out, {} of another head: {}",
                count(left_out.len(), "tensor"),
                left_out.join(", ")
            ));
        }
        if self.config.classes() == 0 {
            let mut modules = vec![Module::Classifier];
            if !self.config.pools() {
                modules.insert(0, Module::Dense);
            }
            let names = modules.into_iter().map(|module| self.name_of_head(module));
            self.notices.push(format!(
                "the classification head ({}) is not in the file; an adapter starts one anew from \
                 its seed",
                names.collect::<Vec<_>>().join(", ")
            ));
        }
    }

    fn name_of_head(&self, module: Module) -> String {
        let block = self.config.num_layers;
        self.config.published(&Site { block, module }.path())
    }

    /// The classes of the file's head, if it has its output.
    fn settle_classes(&mut self) {
        let output = Site {
            block: self.config.num_layers,
            module: Module::Classifier,
        };
        let output: Option<&Entry> = self.tensors.get(&format!("{}.weight", output.path()));
        let classes = output.and_then(|entry| entry.shape.first().copied());
        if let Some(classes) = classes {
            self.config = self.config.with_classes(classes);
        }
    }
}

fn count(number: usize, of: &str) -> String {
    if number == 1 {
        format!("1 {of}")
    } else {
        format!("{number} {of}s")
    }
}
