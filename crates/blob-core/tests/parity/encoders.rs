use crate::support::device::devices;
use crate::support::encoder_case::{ENCODER_CASES, EncoderCase};
use crate::support::golden::assert_close;

#[test]
fn encoders_have_the_logits_and_gradients_of_transformers_and_peft() {
    for name in ENCODER_CASES {
        for device in devices() {
            let case = EncoderCase::open_on(name, device);
            let (logits, nll, gradients) = case.run();
            let expected = &case.expected;
            let what = |part: &str| format!("{name} on {}: {part}", device.name());
            assert_close(&what("logits"), &logits, expected.values("logits"), 1e-4);
            assert_close(&what("nll"), &[nll], expected.values("nll"), 1e-4);
            let gradients = case.published(&gradients);
            let mut count = 0;
            for tensor in expected.names("grad.") {
                let expected = expected.values(&format!("grad.{tensor}"));
                assert_close(&what(tensor), gradients.values(tensor), expected, 1e-4);
                count += 1;
            }
            // Beside those there are the frozen layers under terms, whose gradients are 0.
            let others = gradients.names("").filter(|tensor| {
                let name = format!("grad.{tensor}");
                !expected.names("").any(|expected| expected == name)
            });
            for tensor in others {
                assert!(tensor.contains(".base_layer."), "{}", what(tensor));
                let is_zero = gradients.values(tensor).iter().all(|value| *value == 0.0);
                assert!(is_zero, "{}", what(tensor));
            }
            assert!(count > 5, "{}", what("gradients"));
        }
    }
}
