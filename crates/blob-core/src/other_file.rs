//! What lies where weights were expected: pointers, web pages and pickles that bear their names.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

/// A file that is taken for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherFile {
    /// What a clone without git-lfs leaves in the place of a large file.
    LfsPointer,
    /// What a browser or `curl` saves where it had to log in, or met an error.
    WebPage,
    /// PyTorch's own format, a pickle (in a zip archive since version 1.6).
    Pickle,
}

const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const ZIP: &[u8] = b"PK\x03\x04";
/// The pickle of the number that PyTorch's files began with before they were archives.
const PICKLE: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46";
const WEB_PAGES: [&[u8]; 3] = [b"<!doctype", b"<html", b"<?xml"];
/// Endings of files that PyTorch writes.
const PICKLE_EXTENSIONS: [&str; 4] = ["bin", "pt", "pth", "ckpt"];

impl OtherFile {
    /// What the file with these bytes is, when it is one of them.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let text = bytes.trim_ascii_start();
        let begins = |start: &[u8]| {
            let beginning = text.get(..start.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
        };
        if bytes.starts_with(LFS_POINTER) {
            Some(Self::LfsPointer)
        } else if WEB_PAGES.into_iter().any(begins) {
            Some(Self::WebPage)
        } else if bytes.starts_with(ZIP) || bytes.starts_with(PICKLE) {
            Some(Self::Pickle)
        } else {
            None
        }
    }

    /// Whether the name is one that PyTorch gives a pickle.
    pub(crate) fn is_named_pickle(path: &Path) -> bool {
        let extension = path.extension().unwrap_or_default();
        let mut pickles = PICKLE_EXTENSIONS.iter();
        pickles.any(|pickle| extension.eq_ignore_ascii_case(pickle))
    }

    /// What it is, for people.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::LfsPointer => "this is a Git LFS pointer, not the file that it stands for",
            Self::WebPage => "this is a web page, not the file that was asked for",
            Self::Pickle => "this is a PyTorch pickle, which can run code when it is read",
        }
    }

    /// What to do.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::LfsPointer => {
                "fetch the file itself: git lfs install, then git lfs pull in the clone"
            }
            Self::WebPage => {
                "open it in a browser to see what the server answered (a login, a licence to \
                 accept, a wrong address); of a Hub address take /resolve/, not /blob/"
            }
            Self::Pickle => {
                "write it as safetensors, with transformers or peft: \
                 from_pretrained(DIR).save_pretrained(NEW_DIR)"
            }
        }
    }
}

/// The bytes of a file of an adapter.
///
/// # Errors
/// `BPEFT_IO`, or `BPEFT_ADAPTER` where another file lies in its place.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let other = |path: &Path, other: OtherFile| Error::NotAnAdapter {
        path: path.to_owned(),
        reason: other.reason().into(),
        hint: other.hint(),
    };
    let pickle = path.with_extension("bin");
    if !path.exists() && pickle.exists() {
        return Err(other(&pickle, OtherFile::Pickle));
    }
    let bytes = fs::read(path).map_err(Error::io(path))?;
    OtherFile::of(&bytes).map_or(Ok(bytes), |found| Err(other(path, found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_was_saved_in_the_place_of_weights() {
        for (bytes, expected) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"[..],
                Some(OtherFile::LfsPointer),
            ),
            (b"\n <!DOCTYPE html><title>Log in", Some(OtherFile::WebPage)),
            (b"<HTML>", Some(OtherFile::WebPage)),
            (b"PK\x03\x04archive/data.pkl", Some(OtherFile::Pickle)),
            (
                b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
                Some(OtherFile::Pickle),
            ),
            (b"GGUF\x03\0\0\0", None),
            (b"\x80\x02\0\0\0\0\0\0{\"__metadata__\"", None),
            (b"", None),
        ] {
            assert_eq!(OtherFile::of(bytes), expected, "{bytes:?}");
        }
    }
}
