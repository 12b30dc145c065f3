//! What products refuse.

use super::*;

#[test]
fn wrong_lengths_are_refused_with_the_lengths() {
    for shape in [
        vec![0, 6],
        vec![6, 0],
        vec![2, 4],
        vec![usize::MAX, 2],
        vec![6],
    ] {
        let data = values(11, 6);
        let stored = StoredMatrix::from_tensor(&HostTensor { shape, data });
        assert!(
            stored
                .and_then(|it| FrozenMatrix::new(it, Precision::F32))
                .is_err()
        );
    }
    let weight = matrix(&values(11, 6), 2, 3, Precision::F32);
    let forward = |x: &[f32], m: usize| weight.stage(Direction::Forward, x, m);
    let error = forward(&[0.0; 5], 2).unwrap_err();
    let text = "the operand must hold m·depth = 2·3 values, got 5";
    assert_eq!(error.to_string(), text);
    assert!(forward(&[0.0; 6], usize::MAX).is_err());
    let staged = forward(&[0.0; 6], 2).unwrap();
    let multiply = |direction, out: &mut [f32], epilogue: &Epilogue<'_>| {
        weight.multiply(direction, &staged, out, epilogue)
    };
    assert!(multiply(Direction::Forward, &mut [0.0; 5], &Epilogue::NONE).is_err());
    assert!(multiply(Direction::Backward, &mut [0.0; 6], &Epilogue::NONE).is_err());
    let epilogue = Epilogue {
        updates: &[],
        addend: Addend::Matrix(&[0.0; 3]),
    };
    assert!(multiply(Direction::Forward, &mut [0.0; 4], &epilogue).is_err());
    let deeper = matrix(&values(11, 8), 2, 4, Precision::F32);
    let result = deeper.multiply(Direction::Forward, &staged, &mut [0.0; 4], &Epilogue::NONE);
    let text = result.unwrap_err().to_string();
    assert!(
        text.ends_with("of depth [4], got Float of depth [3]"),
        "{text}"
    );
    let other = matrix(&values(11, 6), 2, 3, Precision::Int8);
    let result = other.multiply(Direction::Forward, &staged, &mut [0.0; 4], &Epilogue::NONE);
    assert!(result.is_err());
}

#[test]
fn an_instruction_set_that_the_machine_lacks_is_refused() {
    let weight = matrix(&[1.0], 1, 1, Precision::Bf16);
    for isa in Isa::ALL {
        let result = weight.stage_for(isa, Direction::Forward, &[2.0], 1);
        assert_eq!(result.is_ok(), isa.is_available(), "{}", isa.name());
        assert_eq!(Isa::named(isa.name()), Some(isa));
    }
}

#[test]
fn a_new_result_is_the_written_one_and_holds_nothing_to_add_to() {
    let (m, n, k) = (29, 70, 33);
    let (x, addend) = (values(1, m * k), values(3, m * n));
    let weight = matrix(&values(2, n * k), n, k, Precision::F32);
    let staged = weight.stage(Direction::Forward, &x, m).unwrap();
    let product = |addend| {
        let epilogue = Epilogue {
            updates: &[],
            addend,
        };
        weight.product(Direction::Forward, &staged, &epilogue)
    };
    let mut out = addend.clone();
    let epilogue = Epilogue {
        updates: &[],
        addend: Addend::Out,
    };
    let forward = Direction::Forward;
    weight
        .multiply(forward, &staged, &mut out, &epilogue)
        .unwrap();
    let new = product(Addend::Matrix(&addend)).unwrap();
    assert_eq!(bits(&new), bits(&out));
    assert!(product(Addend::Out).is_err());
}
