//! Classification heads in PEFT's files.

use blob_core::adapter::{Sigma, peft};

use crate::encoders::adapter;
use crate::peft::edit;
use crate::support::Scratch;
use crate::support::encoder_case::EncoderCase;

/// A part of the head whose values came in the order of a hash would differ from run to run.
#[test]
fn a_part_of_a_head_that_a_file_has_twice_is_refused_with_both_names() {
    let backbone = EncoderCase::open("encoder-distilbert-everywhere").backbone;
    for trained in [true, false] {
        let adapter = adapter(&backbone, None, trained);
        let (plain, under_term) = ("classifier.weight", "classifier.base_layer.weight");
        let own = if trained { plain } else { under_term };
        let prefix = "base_model.model.";
        let others = [
            format!("{prefix}{}", if trained { under_term } else { plain }),
            format!("{prefix}{prefix}{own}"),
            own.to_owned(),
        ];
        for other in others {
            let folder = Scratch::new();
            peft::save(&adapter, backbone.config(), folder.path(), "base").unwrap();
            edit(&folder, |tensors| {
                let raw = tensors[&format!("{prefix}{own}")].clone();
                tensors.insert(other.clone(), raw);
            });
            let error = peft::load(folder.path(), backbone.config(), Sigma::Square).unwrap_err();
            assert_eq!(error.code(), "BPEFT_ADAPTER", "{error}");
            for name in [format!("{prefix}{own}"), other.clone()] {
                assert!(
                    error.to_string().contains(&format!("{name:?}")),
                    "{name}: {error}"
                );
            }
        }
    }
}
