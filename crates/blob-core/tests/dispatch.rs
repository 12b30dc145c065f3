//! PyTorch's logits and gradients on every path that this machine has. One test alone, since a path
//! is the process's.

mod support;

use blob_core::kernels::cpu::isa::{Isa, current, force};
use blob_core::ops::Device;
use support::training_case::{ARCHITECTURE_CASES, BLOB_CASES, MLE_CASES, check_training};

#[test]
fn every_path_has_pytorchs_logits_and_gradients() {
    let mut paths = 0;
    for path in Isa::ALL {
        assert_eq!(force(path).is_ok(), path.is_available(), "{}", path.name());
        if !path.is_available() {
            continue;
        }
        assert_eq!(current(), path);
        let cases = MLE_CASES.into_iter().chain(BLOB_CASES);
        for name in cases.chain(ARCHITECTURE_CASES) {
            check_training(name, Device::Cpu);
        }
        paths += 1;
    }
    assert!(paths > 0);
    force(Isa::Portable).unwrap();
}
