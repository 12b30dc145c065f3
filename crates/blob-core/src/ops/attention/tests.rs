use super::super::oracle::{
    assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, devices, tensor,
};
use super::super::rows;
use super::*;
use candle_core::DType;

/// Grouped, one kv head for all, a kv head for each; widths that fill vectors and that do not.
const SHAPES: [[usize; 3]; 4] = [[4, 2, 6], [3, 1, 4], [2, 2, 16], [6, 2, 20]];
const OFFSETS: [u32; 5] = [0, 5, 6, 8, 15];
/// Windows of one position, within a panel of keys, of several panels, and longer than any segment.
const MASKS: [Mask; 10] = [
    Mask::Causal,
    Mask::Full,
    Mask::Window(1),
    Mask::Window(3),
    Mask::Window(18),
    Mask::Window(37),
    Mask::Window(200),
    Mask::Around(1),
    Mask::Around(17),
    Mask::Around(200),
];

fn shape([num_heads, num_kv_heads, head_dim]: [usize; 3], device: Device) -> AttentionShape {
    AttentionShape {
        num_heads,
        num_kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        soft_cap: None,
        precision: Precision::F32,
        device,
    }
}

/// Each case on each device that has a kernel.
fn on_devices<T: Clone>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = (T, Device)> {
    let devices: Vec<_> = devices()
        .into_iter()
        .filter(|device| *device != Device::Reference)
        .collect();
    let on = move |case: T| {
        devices
            .clone()
            .into_iter()
            .map(move |device| (case.clone(), device))
    };
    cases.into_iter().flat_map(on)
}

fn every<'a>(shape: &'a AttentionShape, mask: Mask, offsets: &'a [u32]) -> Attention<'a> {
    Attention {
        shape,
        mask,
        queries: Queries::Every,
        offsets,
    }
}

fn operands(shape: &AttentionShape, n: usize) -> [Tensor; 3] {
    let kv_width = shape.num_kv_heads * shape.head_dim;
    let q = tensor(1, n, shape.num_heads * shape.head_dim);
    [q, tensor(2, n, kv_width), tensor(3, n, kv_width)]
}

fn of([q, k, v]: [&Tensor; 3]) -> Operands<'_> {
    Operands { q, k, v }
}

fn last_rows(offsets: &[u32]) -> Vec<u32> {
    offsets[1..].iter().map(|end| end - 1).collect()
}

/// o by the plain operations, in f64.
fn reference(operands: [&candle::Tensor; 3], attention: &Attention) -> Result<candle::Tensor> {
    let operands = operands.map(|x| x.to_dtype(DType::F64).unwrap());
    Ok(plain::forward(attention, operands.each_ref())?.0)
}

#[test]
fn forward_is_the_plain_composition() {
    let offsets = [&OFFSETS[..], &[0, 1], &OFFSETS, &[0, 70, 111]];
    for ((case, offsets), device) in on_devices(SHAPES.into_iter().zip(offsets)) {
        let shape = shape(case, device);
        let [q, k, v] = operands(&shape, offsets[offsets.len() - 1] as usize);
        for mask in MASKS {
            let attention = every(&shape, mask, offsets);
            let o = attention.forward(of([&q, &k, &v])).unwrap().o;
            let expected = reference([&q, &k, &v], &attention).unwrap();
            assert_close(&o, &expected, 2e-6);
        }
    }
}

#[test]
fn a_window_is_exact_in_segments_below_at_and_above_it() {
    let shape = shape([4, 2, 8], Device::Cpu);
    for width in [16, 17] {
        let lengths = [width - 1, width, width + 1, 3 * width];
        let mut offsets = vec![0];
        for length in lengths {
            offsets.push(offsets[offsets.len() - 1] + length);
        }
        let [q, k, v] = operands(&shape, offsets[4] as usize);
        let windowed = every(&shape, Mask::Window(width as usize), &offsets);
        let o = windowed.forward(of([&q, &k, &v])).unwrap().o;
        assert_close(&o, &reference([&q, &k, &v], &windowed).unwrap(), 2e-6);
        let causal = every(&shape, Mask::Causal, &offsets);
        let whole = causal.forward(of([&q, &k, &v])).unwrap().o;
        let (o, whole) = (o.to_vec2::<f32>().unwrap(), whole.to_vec2::<f32>().unwrap());
        for ends in offsets.windows(2) {
            for row in ends[0]..ends[1] {
                let narrowed = row - ends[0] >= width;
                let (row, whole) = (&o[row as usize], &whole[row as usize]);
                assert_eq!(row != whole, narrowed, "window {width}, segment {ends:?}");
            }
        }
    }
}

#[test]
fn backward_is_the_gradient_of_the_reference() {
    // A window of one position has no gradient of q and k.
    let masks = [
        Mask::Causal,
        Mask::Full,
        Mask::Window(2),
        Mask::Window(3),
        Mask::Around(1),
    ];
    let cases: [([usize; 3], &[u32], &[Mask]); 4] = [
        ([4, 2, 6], &[0, 3, 4, 8], &masks),
        // more than one block of query rows and panel of keys
        (
            [3, 1, 2],
            &[0, 18],
            &[Mask::Causal, Mask::Full, Mask::Window(5), Mask::Around(4)],
        ),
        ([2, 2, 4], &[0, 1, 2, 7], &masks),
        ([2, 1, 20], &[0, 4, 5], &masks[..3]),
    ];
    for ((case, offsets, masks), device) in on_devices(cases) {
        let shape = shape(case, device);
        let n = offsets[offsets.len() - 1] as usize;
        let [q, k, v] = operands(&shape, n);
        let d_o = tensor(4, n, shape.num_heads * shape.head_dim);
        for mask in masks {
            let attention = every(&shape, *mask, offsets);
            let attended = attention.forward(of([&q, &k, &v])).unwrap();
            let operands = of([&q, &k, &v]);
            let OperandGradients { dq, dk, dv } =
                attention.backward(operands, &attended, &d_o).unwrap();
            assert_gradient(&dq, &q, &d_o, |q| reference([q, &k, &v], &attention));
            assert_gradient(&dk, &k, &d_o, |k| reference([&q, k, &v], &attention));
            assert_gradient(&dv, &v, &d_o, |v| reference([&q, &k, v], &attention));
        }
    }
}

#[test]
fn under_a_soft_cap_and_a_factor_of_its_own_it_is_the_plain_composition_with_its_gradient() {
    let offsets = [0, 3, 4, 23];
    let cases = [Mask::Causal, Mask::Full, Mask::Window(5)];
    for (mask, device) in on_devices(cases) {
        let shape = AttentionShape {
            scale: 0.7,
            soft_cap: Some(0.9),
            ..shape([4, 2, 6], device)
        };
        let [q, k, v] = operands(&shape, 23);
        let d_o = tensor(4, 23, shape.num_heads * shape.head_dim);
        let attention = every(&shape, mask, &offsets);
        let attended = attention.forward(of([&q, &k, &v])).unwrap();
        let expected = reference([&q, &k, &v], &attention).unwrap();
        assert_close(&attended.o, &expected, 2e-6);
        let operands = of([&q, &k, &v]);
        let OperandGradients { dq, dk, dv } =
            attention.backward(operands, &attended, &d_o).unwrap();
        assert_gradient(&dq, &q, &d_o, |q| reference([q, &k, &v], &attention));
        assert_gradient(&dk, &k, &d_o, |k| reference([&q, k, &v], &attention));
        assert_gradient(&dv, &v, &d_o, |v| reference([&q, &k, v], &attention));
    }
}

#[test]
fn keys_that_no_query_of_a_block_sees_get_their_gradients_too() {
    // Two heads share a block of 32 rows: 16 positions; a window of 3 leaves whole panels out.
    let shape = shape([2, 1, 2], Device::Cpu);
    let offsets = [0, 40];
    let [q, k, v] = operands(&shape, 40);
    let d_o = tensor(4, 40, 4);
    let attention = every(&shape, Mask::Window(3), &offsets);
    let attended = attention.forward(of([&q, &k, &v])).unwrap();
    let operands = of([&q, &k, &v]);
    let OperandGradients { dq, dk, dv } = attention.backward(operands, &attended, &d_o).unwrap();
    assert_gradient(&dq, &q, &d_o, |q| reference([q, &k, &v], &attention));
    assert_gradient(&dk, &k, &d_o, |k| reference([&q, k, &v], &attention));
    assert_gradient(&dv, &v, &d_o, |v| reference([&q, &k, v], &attention));
}

#[test]
fn the_last_position_alone_has_the_bits_of_the_whole() {
    let cases = SHAPES
        .into_iter()
        .flat_map(|case| MASKS.map(|mask| (case, mask)));
    for ((case, mask), device) in on_devices(cases) {
        let shape = shape(case, device);
        let offsets = [0, 40, 41, 111];
        let [q, k, v] = operands(&shape, 111);
        let every = every(&shape, mask, &offsets);
        let alone = Attention {
            queries: Queries::Last,
            ..every
        };
        let whole = every.forward(of([&q, &k, &v])).unwrap();
        let last = last_rows(&offsets);
        let q_last = rows::gather(&q, &last).unwrap();
        let attended = alone.forward(of([&q_last, &k, &v])).unwrap();
        let last_of = |x: &Tensor| bits(&rows::gather(x, &last).unwrap());
        assert_eq!(bits(&attended.o), last_of(&whole.o));
        assert_eq!(bits(&attended.log_sum_exp), last_of(&whole.log_sum_exp));

        let d_last = tensor(4, 3, shape.num_heads * shape.head_dim);
        let d_o = rows::scatter(&d_last, &last, 111).unwrap();
        let operands = of([&q_last, &k, &v]);
        let OperandGradients { dq, dk, dv } = alone.backward(operands, &attended, &d_last).unwrap();
        let of_whole = every.backward(of([&q, &k, &v]), &whole, &d_o).unwrap();
        // A window of one position has no gradient of q and k: what there is of it is rounding.
        if mask != Mask::Window(1) {
            assert_close(&dq, &rows::gather(&of_whole.dq, &last).unwrap(), 1e-6);
            assert_close(&dk, &of_whole.dk, 1e-6);
        }
        assert_close(&dv, &of_whole.dv, 1e-6);
    }
}

#[test]
fn neither_threads_nor_the_batch_change_a_bit() {
    let shape = shape([6, 2, 20], Device::Cpu);
    let offsets = [0, 33, 34, 134];
    let [q, k, v] = operands(&shape, 134);
    for mask in [Mask::Causal, Mask::Window(21), Mask::Full, Mask::Around(21)] {
        let all = |operands: [&Tensor; 3], offsets: &[u32]| -> Vec<Tensor> {
            let attention = every(&shape, mask, offsets);
            let attended = attention.forward(of(operands)).unwrap();
            let gradients = attention.backward(of(operands), &attended, operands[0]);
            let OperandGradients { dq, dk, dv } = gradients.unwrap();
            vec![attended.o, attended.log_sum_exp, dq, dk, dv]
        };
        assert_same_bits_on_any_thread_count(|| all([&q, &k, &v], &offsets));
        let together = all([&q, &k, &v], &offsets);
        let segment = |x: &Tensor| Tensor::from(x.narrow(0, 34, 100).unwrap());
        let alone = all([&segment(&q), &segment(&k), &segment(&v)], &[0, 100]);
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(bits(alone), bits(&segment(together)));
        }
    }
}

#[test]
fn a_token_does_not_see_those_after_it() {
    let shape = shape([4, 2, 6], Device::Cpu);
    let [q, k, v] = operands(&shape, 50);
    let first = |x: &Tensor| Tensor::from(x.narrow(0, 0, 20).unwrap());
    let causal = |operands, offsets: &[u32]| {
        let attention = every(&shape, Mask::Causal, offsets);
        attention.forward(of(operands)).unwrap().o
    };
    let o = causal([&q, &k, &v], &[0, 50]);
    let cut = causal([&first(&q), &first(&k), &first(&v)], &[0, 20]);
    assert_eq!(bits(&cut), bits(&first(&o)));
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let good = shape([4, 2, 6], Device::Cpu);
    let [q, k, v] = operands(&good, 15);
    let uneven = shape([4, 3, 6], Device::Cpu);
    let causal = every(&good, Mask::Causal, &OFFSETS);
    let last = Attention {
        queries: Queries::Last,
        ..causal
    };
    for (attention, q) in [
        (every(&uneven, Mask::Causal, &OFFSETS), &q),
        (causal, &k),
        (every(&good, Mask::Causal, &[0, 14]), &q),
        (last, &q),
        (every(&good, Mask::Window(0), &OFFSETS), &q),
    ] {
        let error = attention.forward(of([q, &k, &v])).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{error}");
    }
}
