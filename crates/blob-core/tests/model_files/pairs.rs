//! Sentence pairs as encoders read them (`tools/goldens/tokenizer_pairs.py`).

use blob_core::tokenizer::{EncodedTexts, Texts, Tokenizer};
use serde_json::Value;

use super::tokenizer_families::{fnv1a, json, questions, repository};

fn golden(name: &str) -> std::path::PathBuf {
    repository("tests/goldens").join(format!("pairs-{name}.json"))
}

#[test]
fn pairs_of_every_family_are_those_of_tokenizers_and_transformers_at_three_lengths() {
    for family in ["bert", "roberta", "deberta", "modernbert"] {
        let tokenizer = Tokenizer::from_file(&golden(family)).unwrap();
        let expected = json(&golden(&format!("{family}-ids")));
        for case in expected["awkward"].as_array().unwrap() {
            let (first, second) = (case["first"].as_str().unwrap(), case["second"].as_str());
            let length = usize::try_from(case["length"].as_u64().unwrap()).unwrap();
            if second.is_some_and(|second| second.trim().is_empty()) {
                continue; // refused, by a test below
            }
            let got = tokenizer.encode_texts(first, second, length).unwrap();
            let numbers =
                |key: &str| -> Vec<u32> { serde_json::from_value(case[key].clone()).unwrap() };
            let what = format!("{family}: {first:?}, {second:?}, {length}");
            assert_eq!(got.ids, numbers("ids"), "{what}");
            assert_eq!(got.type_ids, numbers("types"), "{what}");
        }
        let lengths: Vec<usize> = serde_json::from_value(expected["lengths"].clone()).unwrap();
        let (mut count, mut cut) = (0, 0);
        for (file, hashes) in expected["files"].as_object().unwrap() {
            let texts = questions(file);
            let next = texts.iter().cycle().skip(1);
            let pairs: Vec<Texts> = texts
                .iter()
                .zip(next)
                .map(|(first, second)| (first.clone(), Some(second.clone())))
                .collect();
            let by_length: Vec<Vec<EncodedTexts>> = lengths
                .iter()
                .map(|&length| tokenizer.encode_texts_batch(&pairs, length).unwrap())
                .collect();
            for (at, hash) in hashes.as_array().unwrap().iter().enumerate() {
                let cuts = by_length.iter().map(|encoded| &encoded[at]);
                let words: Vec<u32> = cuts
                    .clone()
                    .flat_map(|cut| cut.ids.iter().chain(&cut.type_ids).copied())
                    .collect();
                assert_eq!(
                    Value::from(fnv1a(&words)),
                    *hash,
                    "{family}: {:?}",
                    pairs[at]
                );
                cut += cuts.filter(|encoded| encoded.truncated).count();
                count += 1;
            }
            for (encoded, &length) in by_length.iter().zip(&lengths) {
                assert!(encoded.iter().all(|it| it.ids.len() <= length
                    && it.ids.len() == it.type_ids.len()
                    && (!it.truncated || it.ids.len() == length)));
            }
        }
        assert!(count >= 1000 && cut >= 1000, "{count} pairs, {cut} cuts");
    }
}

#[test]
fn what_cannot_be_read_as_a_pair_is_refused() {
    let tokenizer = Tokenizer::from_file(&golden("bert")).unwrap();
    let code = |(first, second), length| {
        let error = tokenizer.encode_texts(first, second, length).unwrap_err();
        error.code()
    };
    assert_eq!(code(("a", Some(" ")), 32), "BPEFT_INVALID_INPUT");
    assert_eq!(code(("a", Some("b")), 4), "BPEFT_INVALID_INPUT");
    tokenizer.encode_texts("a", Some("b"), 5).unwrap();
    let error = Tokenizer::bytes().encode_texts("a", Some("b"), 32);
    assert_eq!(error.unwrap_err().code(), "BPEFT_UNSUPPORTED");
    let decoder = repository("tests/goldens/tokenizer-qwen.json");
    let error = Tokenizer::from_file(&decoder)
        .unwrap()
        .encode_texts("a", None, 32);
    assert_eq!(error.unwrap_err().code(), "BPEFT_UNSUPPORTED");
}
