use super::super::oracle::{
    assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, devices, golden,
    tensor,
};
use super::super::{Device, Precision};
use super::*;
use candle_core::{self as candle, DType};

/// Segments of one token, of several, and of more than a vector; two shares.
const OFFSETS: [u32; 6] = [0, 1, 6, 8, 28, 31];
const SHARES: [u32; 5] = [0, 0, 0, 1, 1];
const BUCKETS: [Buckets; 2] = [
    Buckets {
        span: 6,
        farthest: Some(15),
    },
    Buckets {
        span: 9,
        farthest: None,
    },
];

fn shape(device: Device) -> AttentionShape {
    AttentionShape {
        num_heads: 2,
        num_kv_heads: 2,
        head_dim: 6,
        scale: 0.3,
        soft_cap: None,
        precision: Precision::F32,
        device,
    }
}

/// The places, and the first row of each segment's share.
fn geometry(buckets: Buckets) -> (Places, Vec<u32>) {
    let (places, used) = buckets.places(20);
    let shares = SHARES.map(|share| share * used.len() as u32);
    (places, shares.to_vec())
}

/// q, k, v, Q̂ and K̂.
fn operands(places: &Places) -> [Tensor; 5] {
    let rows = 2 * places.width;
    [(1, 31), (2, 31), (3, 31), (4, rows), (5, rows)].map(|(seed, rows)| tensor(seed, rows, 12))
}

fn of([q, k, v, queries, keys]: [&Tensor; 5]) -> (Operands<'_>, OfDistances<'_>) {
    (Operands { q, k, v }, OfDistances { queries, keys })
}

fn plain_in_f64(of: &Disentangled<'_>, operands: [&candle::Tensor; 5]) -> Result<candle::Tensor> {
    let operands = operands.map(|x| x.to_dtype(DType::F64).unwrap());
    Ok(plain::forward(of, operands.each_ref())?.0)
}

#[test]
fn kernels_are_the_plain_composition_and_have_its_gradients() {
    for buckets in BUCKETS {
        let (places, shares) = geometry(buckets);
        let operands = operands(&places);
        let d_o = tensor(6, 31, 12);
        for device in devices() {
            let shape = shape(device);
            let attention = Disentangled {
                shape: &shape,
                offsets: &OFFSETS,
                places: &places,
                shares: &shares,
            };
            let (rows, distances) = of(operands.each_ref());
            let attended = attention.forward(rows, distances).unwrap();
            let hosts = operands.each_ref().map(|x| x.host().unwrap());
            let expected = plain_in_f64(&attention, hosts).unwrap();
            assert_close(&attended.o, &expected, 2e-6);
            let gradients = attention.backward(rows, distances, &attended, &d_o);
            for (index, gradient) in gradients.unwrap().iter().enumerate() {
                assert_gradient(gradient, &operands[index], &d_o, |x| {
                    let mut changed = hosts;
                    changed[index] = x;
                    plain_in_f64(&attention, changed)
                });
            }
        }
    }
}

#[test]
fn scores_read_the_distance_from_query_to_key_and_not_back() {
    // One head of width 1, all content 0 but what is asked: o is then the mean of v by the scores.
    let (places, used) = Buckets {
        span: 4,
        farthest: None,
    }
    .places(3);
    assert_eq!((used, places.longest()), (2..7, 3));
    let shape = AttentionShape {
        num_heads: 1,
        num_kv_heads: 1,
        head_dim: 1,
        scale: 1.0,
        ..shape(Device::Cpu)
    };
    let attention = Disentangled {
        shape: &shape,
        offsets: &[0, 3],
        places: &places,
        shares: &[0],
    };
    let column = |values: &[f32]| wrap(values.to_vec(), (values.len(), 1)).unwrap();
    let (zeros, none) = (column(&[0.0; 3]), column(&[0.0; 5]));
    // Row of distance +1: the key before the query.
    let before = column(&[0.0, 0.0, 0.0, 50.0, 0.0]);
    let (ones, v) = (column(&[1.0; 3]), column(&[1.0, 2.0, 4.0]));
    for (operands, what) in [
        ([&ones, &zeros, &v, &none, &before], "content to position"),
        ([&zeros, &ones, &v, &before, &none], "position to content"),
    ] {
        let (rows, distances) = of(operands);
        let o = attention.forward(rows, distances).unwrap().o;
        let o: Vec<f32> = o.flatten_all().unwrap().to_vec1().unwrap();
        assert!(
            (o[1] - 1.0).abs() < 1e-5 && (o[2] - 2.0).abs() < 1e-5,
            "{what}: {o:?}"
        );
    }
}

#[test]
fn buckets_are_those_of_the_published_model() {
    let document = golden("relative-buckets.json");
    for case in document["cases"].as_array().unwrap() {
        let count = |name: &str| case[name].as_u64().unwrap() as usize;
        let buckets = Buckets {
            span: count("span"),
            farthest: Some(count("farthest")),
        };
        let rows = case["rows"].as_array().unwrap();
        for (far, row) in rows.iter().enumerate() {
            let row = row.as_u64().unwrap() as usize;
            assert_eq!(buckets.row(far, true), row, "{buckets:?} {far}");
            // The other side mirrors it, as far as the table reaches.
            let (other, mirrored) = (buckets.row(far, false), 2 * buckets.span - row);
            let is_last = row == 2 * buckets.span - 1;
            assert!(
                other == mirrored || is_last && other == 0,
                "{buckets:?} −{far}"
            );
        }
    }
}

#[test]
fn neither_threads_nor_the_batch_change_a_bit() {
    let (places, shares) = geometry(BUCKETS[0]);
    let operands = operands(&places);
    let shape = shape(Device::Cpu);
    let all = |operands: &[Tensor; 5], offsets: &[u32], shares: &[u32]| -> Vec<Tensor> {
        let attention = Disentangled {
            shape: &shape,
            offsets,
            places: &places,
            shares,
        };
        let (rows, distances) = of(operands.each_ref());
        let attended = attention.forward(rows, distances).unwrap();
        let back = attention.backward(rows, distances, &attended, &operands[0]);
        [
            vec![attended.o, attended.log_sum_exp],
            back.unwrap().to_vec(),
        ]
        .concat()
    };
    assert_same_bits_on_any_thread_count(|| all(&operands, &OFFSETS, &shares));
    let together = all(&operands, &OFFSETS, &shares);
    let mut alone = operands.clone();
    for x in &mut alone[..3] {
        *x = Tensor::from(x.narrow(0, 8, 20).unwrap().contiguous().unwrap());
    }
    let alone = all(&alone, &[0, 20], &shares[3..4]);
    for (alone, together) in alone.iter().zip(&together).take(5) {
        assert_eq!(bits(alone), bits(&together.narrow(0, 8, 20).unwrap()));
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let (places, shares) = geometry(BUCKETS[0]);
    let operands = operands(&places);
    let good = shape(Device::Cpu);
    let grouped = AttentionShape {
        num_kv_heads: 1,
        ..good
    };
    let short = BUCKETS[0].places(19).0;
    let width = places.width as u32;
    for (shape, places, shares) in [
        (&grouped, &places, &shares[..]),
        (&good, &short, &shares),
        (&good, &places, &shares[..4]),
        (&good, &places, &[width, 0, 0, 0, 0]),
        (&good, &places, &[0, 0, 0, width, width + 1]),
    ] {
        let attention = Disentangled {
            shape,
            offsets: &OFFSETS,
            places,
            shares,
        };
        let (rows, distances) = of(operands.each_ref());
        let error = attention.forward(rows, distances).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    }
}
