//! Attention over samples that lie in one row (`unsloth/utils/attention_dispatch.py`, `_sdpa_packed_segments`): PyTorch's own attention over
//! each run of samples of one length. All samples are taken to be as long as the longest.

use super::super::super::torch::{Tape, Tensor};
use super::sizes::{Kernel, Sizes};
use crate::model::Dtype;

/// Attention; its output is one copy, made by joining the runs.
pub(super) fn attention<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, [q, k, v]: [&Tensor; 3]) -> Tensor {
    let (queries, keys) = match sizes.kernel {
        Kernel::Cudnn => (sizes.query_padded, sizes.key_padded),
        Kernel::Flash => (sizes.query, sizes.key),
        Kernel::Efficient => (sizes.query, sizes.query),
    };
    let copy = |tape: &mut Tape<'a>, x: &Tensor, elements| {
        let copied = tape.new_tensor(elements, x.dtype);
        let before = x.elements;
        // A padded gradient is cut, one of repeated heads summed.
        tape.custom(copied, &[x], &[], move |tape, _, gradients| {
            vec![gradients[0].as_ref().map(|g| tape.new_tensor(before, g.dtype))]
        })
    };
    let part = |tape: &mut Tape<'a>, x: &Tensor| {
        let y = x.view(x.elements);
        let whole = x.elements;
        // `x[0, :, start:end]`: the gradient is written into zeros of the whole, heads first.
        tape.custom(y, &[x], &[], move |tape, _, gradients| {
            vec![gradients[0].as_ref().map(|g| tape.new_tensor(whole, g.dtype))]
        })
    };
    let mut repeated = None;
    if sizes.kernel == Kernel::Efficient && sizes.query != sizes.key {
        repeated = Some([copy(tape, k, queries), copy(tape, v, queries)]);
    }
    let [k, v] = match &repeated {
        Some([k, v]) => [k, v],
        None => [k, v],
    };
    let [mut q, mut k, mut v] = [q, k, v].map(|x| part(tape, x));
    if sizes.kernel == Kernel::Cudnn {
        q = copy(tape, &q, queries);
        k = copy(tape, &k, keys);
        v = copy(tape, &v, keys);
    }
    let out = kernel(tape, sizes, [&q, &k, &v], queries, keys);
    drop((q, k, v, repeated));
    let run = if sizes.kernel == Kernel::Cudnn && sizes.shape.attention.batch > 1 {
        // Padded samples do not flatten to a view.
        let whole = out.elements;
        let run = tape.new_tensor(sizes.query, out.dtype);
        tape.custom(run, &[&out], &[], move |tape, _, gradients| {
            vec![gradients[0].as_ref().map(|g| tape.new_tensor(whole, g.dtype))]
        })
    } else {
        out.clone()
    };
    let joined = tape.new_tensor(sizes.query, sizes.dtype);
    tape.custom(joined, &[&run], &[], |_, _, gradients| vec![gradients[0].clone()])
}

/// The kernel: saves queries, keys, values, output, log-sums and two words.
fn kernel<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, [q, k, v]: [&Tensor; 3], queries: u64, keys: u64) -> Tensor {
    let words = [(); 2].map(|()| tape.new_tensor(1, Dtype::I64));
    let out = tape.new_tensor(queries, sizes.dtype).rows_first(true);
    let log_sums = tape.new_tensor(sizes.log_sums, Dtype::F32);
    let saved = [q, k, v, &out.view(queries), &log_sums, &words[0], &words[1]];
    tape.custom(out, &[q, k, v], &saved, move |tape, _, _| {
        let dtype = sizes.dtype;
        let gradients = [queries, keys, keys].map(|elements| tape.new_tensor(elements, dtype).rows_first(true));
        let _workspace = tape.new_tensor(sizes.attention_workspace, Dtype::U8);
        gradients.map(Some).into()
    })
}
