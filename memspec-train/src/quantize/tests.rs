use super::int8::Int8Encoder;
use super::nf4::{self, AbsMax, Nf4, Nf4Encoder, Scales};
use super::*;
use crate::kernels::place::read_bytes;
use crate::kernels::{self, AdamW, storage};
use crate::testing::fixture;
use proptest::prelude::*;
use safetensors::SafeTensors;

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = tensors.tensor(name).unwrap();
    match tensor.dtype() {
        safetensors::Dtype::BF16 => {
            tensor.data().chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        _ => tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}

fn encode(weight: &[f32], piece: usize, double: bool) -> Nf4 {
    let mut encoder = Nf4Encoder::new(weight.len());
    weight.chunks(piece).for_each(|piece| encoder.push(piece).unwrap());
    encoder.finish(double).unwrap()
}

#[test]
fn nf4_codes_scales_and_values_are_those_of_bitsandbytes() {
    let bytes = fixture("nf4.safetensors");
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let weight = floats(&expected, "weight");
    let plain = encode(&weight, 1000, false);
    assert_eq!(plain.scales, Scales::Plain(floats(&expected, "absmax")));
    let differing = plain.codes.iter().zip(expected.tensor("codes").unwrap().data()).filter(|(a, b)| a != b).count();
    assert_eq!(differing, 0, "of {} bytes", plain.codes.len());
    let mut values = vec![0.0; 1000];
    plain.decode_range(16_000, &mut values);
    assert_eq!(values, floats(&expected, "plain_values"));

    let double = encode(&weight, 17, true);
    assert_eq!(double.codes, plain.codes);
    let Scales::Double { codes, scales, offset } = &double.scales else { panic!("{double:?}") };
    assert_eq!(codes, expected.tensor("double_codes").unwrap().data());
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b.abs();
    assert!(
        near(*offset, floats(&expected, "double_offset")[0]),
        "the sum's order is not torch's, nothing else may differ"
    );
    assert!(scales.iter().zip(floats(&expected, "double_scales")).all(|(a, b)| near(*a, b)));
    double.decode_range(16_000, &mut values);
    assert!(values.iter().zip(floats(&expected, "double_values")).all(|(a, b)| (a - b).abs() <= 1e-6));
    assert_eq!(double.scales.bytes(), 266 + 2 * 4 + 4);
}

#[test]
fn the_dynamic_map_is_bitsandbytes() {
    let bytes = fixture("nf4.safetensors");
    let expected = floats(&SafeTensors::deserialize(&bytes).unwrap(), "map");
    for (code, (ours, theirs)) in dynamic_map::SIGNED.iter().zip(&expected).enumerate() {
        assert!((ours - theirs).abs() <= f32::EPSILON * theirs.abs(), "{code}: {ours} {theirs}");
    }
}

/// As bitsandbytes steps it: `fixtures/adamw_8bit.py`.
#[test]
fn moments_of_8_bits_are_those_of_bitsandbytes() {
    let bytes = fixture("adamw_8bit.safetensors");
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    for (code, (ours, theirs)) in dynamic_map::UNSIGNED.iter().zip(floats(&expected, "unsigned")).enumerate() {
        assert!((ours - theirs).abs() <= f32::EPSILON * theirs.abs(), "{code}: {ours} {theirs}");
    }
    let (start, grads) = (floats(&expected, "start"), floats(&expected, "grads"));
    let tensor = |values: &[f32]| storage::write(storage::zeros_tensor([values.len()]), values);
    let moment = || (storage::zero_bytes(start.len()), storage::zeros_tensor([start.len().div_ceil(256)]));
    let (mut value, mut first, mut second) = (tensor(&start), moment(), moment());
    for (step, grad) in grads.chunks(start.len()).enumerate() {
        let how = AdamW {
            learning_rate: 1e-2,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.1,
            step: step as i32 + 1,
            gradient_scale: 1.0,
        };
        let stepped = kernels::adamw_8bit((value, tensor(grad)), first, second, how);
        ((value, _), first, second) = stepped;
    }
    for ((codes, largest), name) in [(first, "first"), (second, "second")] {
        let largest = storage::read(&largest, <[f32]>::to_vec);
        let theirs = floats(&expected, &format!("{name}_largest"));
        // 1 - 0.999 in f32 is not torch's
        assert!(largest.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 3e-5 * b), "{name}");
        let codes = read_bytes(&codes, <[u8]>::to_vec).unwrap();
        let theirs = expected.tensor(name).unwrap().data().to_vec();
        // another rounding may take the other of two codes that are equally near
        let differing: Vec<u8> =
            codes.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).filter(|apart| *apart > 0).collect();
        assert!(differing.len() <= 5 && differing.iter().all(|apart| *apart == 1), "{name}: {differing:?}");
    }
    let value = storage::read(&value, <[f32]>::to_vec);
    let theirs = floats(&expected, "value");
    let apart = value.iter().zip(theirs).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
    assert!(apart < 1e-6, "{apart}");
}

#[test]
fn a_weight_that_is_no_number_is_found() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut weight = vec![0.5; 300];
        weight[201] = bad;
        let mut encoder = Nf4Encoder::new(300);
        let error = encoder.push(&weight).and_then(|()| encoder.finish(false).map(|_| ())).unwrap_err();
        assert_eq!(error.element, 201);
        assert!(error.to_string().contains("element 201"));
        let mut encoder = Int8Encoder::new(3, 100);
        assert_eq!(encoder.push(&weight).unwrap_err().element, 201);
    }
}

#[test]
fn zeros_and_the_smallest_numbers_stay_finite() {
    let weight = [vec![0.0; 64], vec![1e-45; 64], vec![-1e-39; 64]].concat();
    for double in [false, true] {
        let mut values = vec![1.0; weight.len()];
        encode(&weight, 64, double).decode_range(0, &mut values);
        assert!(values.iter().all(|value| value.abs() < 1e-38), "{values:?}");
    }
    let mut encoder = Int8Encoder::new(3, 64);
    encoder.push(&weight).unwrap();
    let mut values = vec![1.0; weight.len()];
    encoder.finish().decode_range(0, &mut values);
    assert!(values.iter().all(|value| value.abs() < 1e-38));
}

#[test]
fn int8_rounds_to_the_nearest_with_a_scale_a_row() {
    let mut encoder = Int8Encoder::new(2, 3);
    encoder.push(&[1.0, -0.5]).unwrap();
    encoder.push(&[0.004, 254.0, 3.0]).unwrap();
    encoder.push(&[-1.0]).unwrap();
    let weight = encoder.finish();
    assert_eq!(weight.codes, [127, -64, 1, 127, 2, 0]);
    assert_eq!(weight.scales, [1.0 / 127.0, 2.0]);
}

proptest! {
    /// Slices of any length give the same weight, any range decodes as the whole does, and no weight is further off than half a step.
    #[test]
    fn nf4_holds(
        weight in proptest::collection::vec(-1.0_f32..1.0, 1..400),
        piece in 1_usize..130,
        cut in any::<proptest::sample::Index>(),
        double in any::<bool>(),
    ) {
        let whole = encode(&weight, weight.len(), double);
        prop_assert_eq!(&encode(&weight, piece, double), &whole);
        let mut all = vec![0.0; weight.len()];
        whole.decode_range(0, &mut all);
        let start = cut.index(weight.len());
        let mut rest = vec![0.0; weight.len() - start];
        whole.decode_range(start, &mut rest);
        prop_assert_eq!(&rest, &all[start..]);
        let mut middle = vec![0.0; rest.len() / 2];
        whole.decode_range(start, &mut middle);
        prop_assert_eq!(&middle, &all[start..start + middle.len()]);
        if !double {
            for (block, decoded) in weight.chunks(nf4::BLOCK).zip(all.chunks(nf4::BLOCK)) {
                let most = block.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                // the widest gap between two codes is 0.3038
                prop_assert!(block.iter().zip(decoded).all(|(a, b)| (a - b).abs() <= 0.1521 * most));
            }
        }
    }

    #[test]
    fn int8_holds(weight in proptest::collection::vec(-1.0_f32..1.0, 1..400), columns in 1_usize..50, piece in 1_usize..130, cut in any::<proptest::sample::Index>()) {
        let rows = weight.len() / columns;
        prop_assume!(rows > 0);
        let weight = &weight[..rows * columns];
        let mut encoder = Int8Encoder::new(rows, columns);
        weight.chunks(piece).for_each(|piece| encoder.push(piece).unwrap());
        let encoded = encoder.finish();
        let mut all = vec![0.0; weight.len()];
        encoded.decode_range(0, &mut all);
        for ((row, decoded), scale) in weight.chunks(columns).zip(all.chunks(columns)).zip(&encoded.scales) {
            prop_assert!(row.iter().zip(decoded).all(|(a, b)| (a - b).abs() <= 0.501 * scale));
        }
        let start = cut.index(weight.len());
        let mut rest = vec![0.0; weight.len() - start];
        encoded.decode_range(start, &mut rest);
        prop_assert_eq!(&rest, &all[start..]);
    }
}

#[test]
fn a_scale_of_double_quantization_is_its_map_value_times_scale_plus_offset() {
    let mut map = [0.0; 256];
    map[3] = 0.5;
    let absmax = AbsMax::Double { codes: &[3], scales: &[2.0], offset: 0.25, map: &map };
    let mut values = [0.0; 2];
    nf4::decode(&[0xF0], absmax, 0, &mut values);
    assert_eq!(values, [1.25, -1.25]);
}

/// `cargo test --release -p memspec-train --lib -- --ignored --nocapture speed`
#[test]
#[ignore = "a measurement"]
fn speed_of_decoding() {
    let weight: Vec<f32> = (0..4096 * 1024).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
    let mut out = vec![0.0; weight.len()];
    for double in [false, true] {
        let start = std::time::Instant::now();
        let encoded = encode(&weight, 65_536, double);
        let encoding = start.elapsed().as_secs_f64();
        let start = std::time::Instant::now();
        // what a step does: pieces that stay in the cache
        for _ in 0..10 {
            for (i, piece) in out.chunks_mut(64 * 1024).enumerate() {
                encoded.decode_range(i * 64 * 1024, piece);
            }
        }
        let rate = |seconds: f64, times: f64| times * 4.0 * weight.len() as f64 / seconds / 1e9;
        println!(
            "nf4 double {double}: {:.2} GB/s out, encode {:.2} GB/s in",
            rate(start.elapsed().as_secs_f64(), 10.0),
            rate(encoding, 1.0)
        );
    }
    let mut encoder = Int8Encoder::new(4096, 1024);
    encoder.push(&weight).unwrap();
    let encoded = encoder.finish();
    let start = std::time::Instant::now();
    for _ in 0..10 {
        encoded.decode_range(0, &mut out);
    }
    println!("int8: {:.2} GB/s out", 40.0 * weight.len() as f64 / start.elapsed().as_secs_f64() / 1e9);
}
