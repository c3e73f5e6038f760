//! The inputs of recomputed blocks between their passes: on the device, or with `activation_offload` in host memory.
//!
//! An input leaves while its block goes forward, and comes back while the block after it goes backward, so that the copies run beside
//! the computation. How they are made is the device's; the order in which they are is the same on all.

use burn::tensor::Tensor;

use crate::kernels::lane::Lane;

/// The inputs of a micro batch's recomputed blocks, that of the last one on top.
#[derive(Debug)]
pub(crate) struct Shelf<L: Lane> {
    lane: L,
    /// Inputs that leave the device: those of the first so many blocks.
    moved: usize,
    inputs: Vec<Input<L>>,
}

/// Where an input is.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each block of a step")]
enum Input<L: Lane> {
    /// On the device, which it never left.
    Here(Tensor<2>),
    /// In host memory.
    Away(L::Away),
    /// On its way back.
    Coming(L::Coming),
}

impl<L: Lane> Shelf<L> {
    /// An empty one, from which the first `moved` inputs leave.
    pub(crate) fn new(lane: L, moved: usize) -> Self {
        Self { lane, moved, inputs: Vec::new() }
    }

    /// Keeps the input `x` of a block that goes `forward`, and gives the block's output. An input that leaves does so meanwhile; when this
    /// returns, no memory of the device is held for it.
    pub(crate) fn put(&mut self, x: Tensor<2>, forward: impl FnOnce(&Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let place = self.inputs.len();
        if place >= self.moved {
            let y = forward(&x);
            self.inputs.push(Input::Here(x));
            return y;
        }
        let away = self.lane.store(&x, place);
        let y = forward(&x);
        self.lane.release(x, &away);
        self.inputs.push(Input::Away(away));
        y
    }

    /// The input on top begins to come back, where it has left.
    pub(crate) fn prefetch(&mut self) {
        let input = self.inputs.pop().map(|input| match input {
            Input::Away(away) => Input::Coming(self.lane.load(away)),
            other => other,
        });
        self.inputs.extend(input);
    }

    /// Takes the input on top.
    pub(crate) fn take(&mut self) -> Option<Tensor<2>> {
        Some(match self.inputs.pop()? {
            Input::Here(x) => x,
            Input::Coming(coming) => self.lane.arrive(coming),
            Input::Away(away) => {
                let coming = self.lane.load(away);
                self.lane.arrive(coming)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::rc::Rc;

    use memspec::cost::engine::memspec::Moved;
    use memspec::model::Environment;
    use memspec::plan::{self, AdapterKind, Checkpointing, Choice, Plan};
    use memspec::quantity::Tokens;
    use memspec::setup::resolve;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::kernels::place::{Place, fetch};
    use crate::kernels::storage;
    use crate::network::load::{Weights, load};
    use crate::network::{Model, ParameterMut};
    use crate::step::{Batch, StepConfig, forward_backward, micro_batch};

    /// What was asked of a lane, and which phases began, in this order.
    type Log = Rc<RefCell<Vec<String>>>;

    /// A lane as unkind as a card's may be: each copy is made at the last moment, what was released is other numbers at once, and what comes
    /// is no numbers until it has arrived.
    struct Late(Log);

    #[derive(Debug)]
    struct Stored {
        place: usize,
        shape: [usize; 2],
        values: RefCell<Vec<f32>>,
    }

    impl Late {
        fn say(&self, what: &str, place: usize) {
            self.0.borrow_mut().push(format!("{what} {place}"));
        }
    }

    impl Lane for Late {
        type Away = Stored;
        type Coming = (Tensor<2>, Stored);

        fn store(&mut self, x: &Tensor<2>, place: usize) -> Stored {
            self.say("store", place);
            Stored { place, shape: x.dims(), values: RefCell::default() }
        }

        fn release(&mut self, x: Tensor<2>, away: &Stored) {
            self.say("release", away.place);
            away.values.replace(storage::read(&x, <[f32]>::to_vec));
            storage::write(x, &vec![f32::NAN; away.shape[0] * away.shape[1]]);
        }

        fn load(&mut self, away: Stored) -> (Tensor<2>, Stored) {
            self.say("load", away.place);
            let nothing = vec![f32::NAN; away.shape[0] * away.shape[1]];
            (storage::write(storage::zeros_tensor(away.shape), &nothing), away)
        }

        fn arrive(&mut self, (x, away): (Tensor<2>, Stored)) -> Tensor<2> {
            self.say("arrive", away.place);
            storage::write(x, &away.values.borrow())
        }
    }

    /// The quickstart's model of four blocks with all weights trained, or an adapter whose gradients are none of them zero.
    fn model(adapter: bool, checkpointing: Checkpointing, offload: bool) -> (Model, StepConfig) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/model");
        let plan = Plan {
            name: "offload".to_owned(),
            model: Some(folder.to_str().unwrap().into()),
            device: Some("cpu".into()),
            adapter: adapter.then(|| plan::Adapter {
                kind: AdapterKind::Lora,
                rank: Some(4.into()),
                ..Default::default()
            }),
            data: Some(plan::Data { context: Some(Choice::One(Tokens(12))), ..Default::default() }),
            train: Some(plan::Train {
                checkpointing: Some(Choice::One(checkpointing)),
                activation_offload: Some(offload.into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let setup = resolve(&plan, Path::new("."), &Environment::default()).unwrap();
        let weights = Weights::Checkpoint(Box::new(Checkpoint::open(&folder).unwrap()));
        let mut model = load(&setup, &weights, Place::Cpu, &mut |_| {}).unwrap();
        for (name, mut parameter) in model.trained_mut() {
            if name.ends_with("lora_B.weight") {
                let count: usize = parameter.shape().iter().product();
                parameter.write(&(0..count).map(|at| (at as f32 * 0.7).sin() / 50.0).collect::<Vec<_>>());
            }
        }
        (model, StepConfig::of(&setup))
    }

    fn batch() -> Batch {
        let ids: Vec<i32> = (0..24).map(|at| at * 29 % 97).collect();
        let targets = (0..24).map(|at| if at % 12 == 11 { -1 } else { ids[at + 1] }).collect();
        Batch { ids, targets, context: 12, packed: None }
    }

    /// The bits of a loss and of all gradients.
    fn bits(model: &mut Model, loss: &Tensor<1>) -> Vec<Vec<u32>> {
        let of = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let mut all = vec![of(fetch(loss).unwrap())];
        for (_, parameter) in model.trained_mut() {
            all.push(of(match parameter {
                ParameterMut::Vector(p) => fetch(p.training.as_ref().unwrap().grad.get()).unwrap(),
                ParameterMut::Matrix(p) => fetch(p.training.as_ref().unwrap().grad.get()).unwrap(),
            }));
        }
        all
    }

    /// A micro batch by way of `lane`: its loss and gradients.
    fn train<L: Lane>(model: &mut Model, config: &StepConfig, lane: L, enter: &mut dyn FnMut(String)) -> Vec<Vec<u32>> {
        let shelf = Shelf::new(lane, config.moved.inputs as usize);
        let batch = batch();
        let enter = &mut |phase: memspec::cost::PhaseName| enter(phase.to_string());
        let loss = forward_backward(model, &batch, batch.scored(), config, shelf, enter);
        bits(model, &loss)
    }

    #[test]
    fn losses_and_gradients_are_the_same_bits_wherever_inputs_are() {
        use Checkpointing::{Block, Blocks, None};
        for adapter in [false, true] {
            for checkpointing in [Block, Blocks(3), Blocks(1), None] {
                let (mut plain, config) = model(adapter, checkpointing, false);
                assert_eq!(config.moved.inputs, 0);
                let loss = micro_batch(&mut plain, &batch(), batch().scored(), &config, &mut |_| {});
                let expected = bits(&mut plain, &loss);
                assert!(expected.iter().all(|one| one.iter().any(|&bits| bits != 0)), "all gradients are there");

                let (mut moving, config) = model(adapter, checkpointing, true);
                let loss = micro_batch(&mut moving, &batch(), batch().scored(), &config, &mut |_| {});
                assert!(bits(&mut moving, &loss) == expected, "{checkpointing}: on the CPU, adapter: {adapter}");

                let (mut moving, config) = model(adapter, checkpointing, true);
                let late = train(&mut moving, &config, Late(Log::default()), &mut |_| {});
                assert!(late == expected, "{checkpointing}: copied late, adapter: {adapter}");
            }
        }
    }

    /// What is asked of a lane in a micro batch.
    fn asked(checkpointing: Checkpointing) -> String {
        let log = Log::default();
        let (mut model, config) = model(true, checkpointing, true);
        train(&mut model, &config, Late(log.clone()), &mut |phase| log.borrow_mut().push(phase));
        log.take().join(", ")
    }

    #[test]
    fn an_input_leaves_with_its_block_and_comes_one_block_ahead() {
        // The last block's stays.
        assert_eq!(
            asked(Checkpointing::Block),
            "forward, store 0, release 0, store 1, release 1, store 2, release 2, loss, backward, \
             load 2, arrive 2, load 1, arrive 1, load 0, arrive 0"
        );
        // Nothing comes while blocks go backward that kept all they need, but for the last of them.
        assert_eq!(
            asked(Checkpointing::Blocks(2)),
            "forward, store 0, release 0, store 1, release 1, loss, backward, load 1, arrive 1, load 0, arrive 0"
        );
        assert_eq!(asked(Checkpointing::None), "forward, loss, backward");
    }

    #[test]
    fn what_is_asked_for_too_early_is_there_all_the_same() {
        let log = Log::default();
        let mut shelf = Shelf::new(Late(log.clone()), 2);
        for number in 0..3 {
            let x = storage::write(storage::zeros_tensor([1, 2]), &[number as f32, 1.0]);
            let y = shelf.put(x, |x| x.clone() * 2.0);
            assert_eq!(fetch(&y).unwrap(), [2.0 * number as f32, 2.0]);
        }
        for number in [2.0, 1.0, 0.0] {
            assert_eq!(fetch(&shelf.take().unwrap()).unwrap(), [number, 1.0], "not prefetched");
        }
        shelf.prefetch();
        assert!(shelf.take().is_none());
        let moved = "store 0, release 0, store 1, release 1, load 1, arrive 1, load 0, arrive 0";
        assert_eq!(log.take().join(", "), moved);
    }

    #[test]
    fn places_are_as_large_as_the_largest_input() {
        let (_, config) = model(true, Checkpointing::Blocks(3), true);
        assert_eq!(config.moved, Moved { inputs: 3, input_bytes: 12 * 128 * 4 });
    }
}
