//! Our operations on the processor against candle's, which other devices use.

use candle_core::{Device, Tensor};

use super::*;

/// Numbers between -1 and 1 that look random and are always the same.
fn noise(rows: usize, columns: usize, seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let numbers: Vec<f32> = (0..rows * columns)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap()
}

fn line(len: usize, seed: u32) -> Tensor {
    noise(1, len, seed).squeeze(0).unwrap()
}

#[track_caller]
fn check(ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.dims(), theirs.dims());
    let apart = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    let apart: f32 = apart.to_scalar().unwrap();
    assert!(apart < 1e-5, "they differ by {apart}");
}

const BOTH: [Threads; 2] = [Threads::One, Threads::All];

#[test]
fn linear_layers_and_what_follows_agree() {
    let activations = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Identity,
    ];
    for bias in [None, Some(line(34, 3).to_vec1().unwrap())] {
        let weight: Vec<f32> = noise(34, 21, 1).flatten_all().unwrap().to_vec1().unwrap();
        let layer = Linear::new(&weight, 21, bias, &Device::Cpu).unwrap();
        let x = noise(70, 21, 2);
        let follow = activations.iter().flat_map(|a| [After::Activation(*a), After::Gate(*a)]);
        for after in std::iter::once(After::Nothing).chain(follow) {
            for threads in BOTH {
                check(&layer.forward(&x, after, threads).unwrap(), &layer.forward_stock(&x, after).unwrap());
            }
        }
    }
}

#[test]
fn norms_agree() {
    let residual = noise(70, 37, 9);
    for (kind, shift) in
        [(NormKind::Layer, None), (NormKind::Layer, Some(line(37, 5))), (NormKind::Rms, None)]
    {
        let norm = Norm { kind, scale: line(37, 4), shift, eps: 1e-5 };
        for threads in BOTH {
            for residual in [None, Some(&residual)] {
                let x = noise(70, 37, 6);
                let theirs = norm.forward_stock(&x, residual).unwrap();
                check(&norm.forward(x, residual, threads).unwrap(), &theirs);
            }
        }
    }
}

#[test]
fn sums_agree() {
    let (x, y) = (noise(70, 37, 1), noise(70, 37, 2));
    for threads in BOTH {
        check(&add(x.clone(), &y, threads).unwrap(), &(&x + &y).unwrap());
    }
}

#[track_caller]
fn check_attention(attention: &Attention, rope: Option<&Rope>, bias: Option<&Bias>) {
    // One longer than a block of queries, one of a single token.
    let lengths = [5, 150, 1, 40];
    let width = (attention.heads + 2 * attention.kv_heads) * attention.head_dim;
    let qkv = noise(lengths.iter().sum(), width, 7);
    let theirs = attention.forward_stock(&qkv, &lengths, rope, bias).unwrap();
    for threads in BOTH {
        check(&attention.forward(&qkv, &lengths, rope, bias, threads).unwrap(), &theirs);
    }
}

#[test]
fn attention_agrees_however_tokens_look_at_each_other() {
    let plain = || Attention::of_heads(4, 6);
    let rope = Rope::new(100.0, 3, 150, &Device::Cpu).unwrap();
    let bias = Bias::new(149, 4, |head, distance| (head as f32 - 1.5) * 0.01 * distance as f32);
    check_attention(&plain(), None, None);
    check_attention(&plain(), Some(&rope), None);
    check_attention(&plain(), None, Some(&bias));
    check_attention(&Attention { window: Some(3), ..plain() }, Some(&rope), None);
    check_attention(&Attention { window: Some(0), ..plain() }, None, Some(&bias));
    check_attention(&Attention { is_causal: true, ..plain() }, Some(&rope), None);
    check_attention(&Attention { is_causal: true, kv_heads: 2, ..plain() }, None, Some(&bias));
    let norm = |kind, seed| Some(Norm { kind, scale: line(6, seed), shift: None, eps: 1e-6 });
    let normed = Attention {
        query_norm: norm(NormKind::Rms, 1),
        key_norm: norm(NormKind::Rms, 2),
        is_causal: true,
        kv_heads: 1,
        ..plain()
    };
    check_attention(&normed, Some(&rope), None);
}

#[test]
fn ids_outside_a_table_are_an_error() {
    let table = noise(4, 3, 1);
    assert_eq!(look_up(&table, &[3, 0]).unwrap().dims(), [2, 3]);
    assert!(look_up(&table, &[4]).is_err());
}
