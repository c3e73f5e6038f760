//! Refuses shapes that no model has, before anything multiplies them.

use super::{Architecture, RopeScaling};

/// A shape that cannot be: which figure, its value, and why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{what}` = {value} cannot be: {why}")]
pub struct Nonsense {
    /// The figure, by its key in `config.json` where it has one.
    pub what: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}

impl Nonsense {
    pub(crate) fn new(what: &'static str, value: impl ToString, why: impl Into<String>) -> Nonsense {
        Nonsense { what, value: value.to_string(), why: why.into() }
    }
}

impl Architecture {
    /// Whether the shapes can be a model's: nothing zero or absurd, heads that divide, a parameter count that a `u64` holds.
    ///
    /// # Errors
    /// The first figure that cannot be.
    pub fn check(&self) -> Result<(), Nonsense> {
        within("hidden_size", self.hidden, 1 << 20)?;
        within("num_hidden_layers", self.layers, 10_000)?;
        within("num_attention_heads", self.heads, 1 << 16)?;
        within("num_key_value_heads", self.kv_heads, 1 << 16)?;
        within("head_dim", self.head_dim, 1 << 16)?;
        within("intermediate_size", self.intermediate, 1 << 24)?;
        within("vocab_size", self.vocab, 1 << 26)?;
        within("max_position_embeddings", self.max_positions, 1 << 32)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let why = format!("it must divide num_attention_heads = {}", self.heads);
            return Err(Nonsense::new("num_key_value_heads", self.kv_heads, why));
        }
        if let Some(window) = self.sliding_window {
            within("sliding_window", window, 1 << 32)?;
        }
        positive("rms_norm_eps", self.norm_epsilon)?;
        positive("rope_theta", self.rope.theta)?;
        if let RopeScaling::LongRope { short_factors, long_factors, original_max_positions, attention_factor } =
            &self.rope.scaling
        {
            let pairs = self.rope.rotated(self.head_dim) / 2;
            for (what, factors) in [("short_factor", short_factors), ("long_factor", long_factors)] {
                if factors.len() as u64 != pairs {
                    let why = format!("{pairs} numbers are needed, one for each pair of a head's rotated elements");
                    return Err(Nonsense::new(what, format!("{} numbers", factors.len()), why));
                }
                factors.iter().try_for_each(|factor| positive(what, *factor))?;
            }
            within("original_max_position_embeddings", *original_max_positions, 1 << 32)?;
            positive("attention_factor", *attention_factor)?;
        }
        if let Some(experts) = &self.experts {
            within("num_experts", experts.count, 1 << 16)?;
            within("num_experts_per_tok", experts.per_token, experts.count)?;
            within("moe_intermediate_size", experts.intermediate, 1 << 24)?;
        }
        if let Some(experts) = &self.experts {
            at_most("shared_expert_intermediate_size", experts.shared_intermediate, 1 << 24)?;
            at_most("first_k_dense_replace", experts.first_dense, self.layers)?;
        }
        if let Some(linear) = &self.linear_attention {
            within("linear_num_key_heads", linear.key_heads, 1 << 16)?;
            within("linear_key_head_dim", linear.key_dim, 1 << 16)?;
            within("linear_num_value_heads", linear.value_heads, 1 << 16)?;
            within("linear_value_head_dim", linear.value_dim, 1 << 16)?;
            within("linear_conv_kernel_dim", linear.conv, 1 << 16)?;
            within("full_attention_interval", linear.full_every, 10_000)?;
        }
        at_most("n_positions", self.learned_positions, 1 << 32)?;
        if let Some(vision) = &self.vision {
            within("vision_config.depth", vision.layers, 10_000)?;
            within("vision_config.embed_dim", vision.hidden, 1 << 20)?;
            within("vision_config.num_heads", vision.heads, 1 << 16)?;
            within("vision_config.mlp_ratio", vision.intermediate, 1 << 24)?;
            within("vision_config.patch_size", vision.patch, 1 << 16)?;
            within("vision_config.temporal_patch_size", vision.temporal_patch, 1 << 16)?;
            within("vision_config.in_chans", vision.channels, 1 << 16)?;
            within("vision_config.spatial_merge_size", vision.merge, 1 << 8)?;
        }
        // bytes of the model in its widest type, too, must fit
        if self.parameters() > u64::MAX / 16 {
            return Err(Nonsense::new("parameters", self.parameters(), "no such model: more than 2^60 parameters"));
        }
        Ok(())
    }
}

fn at_most(what: &'static str, value: u64, most: u64) -> Result<(), Nonsense> {
    if value > most { Err(Nonsense::new(what, value, format!("it must be at most {most}"))) } else { Ok(()) }
}

fn within(what: &'static str, value: u64, most: u64) -> Result<(), Nonsense> {
    match value {
        0 => Err(Nonsense::new(what, value, "it must be at least 1")),
        _ if value > most => Err(Nonsense::new(what, value, format!("it must be at most {most}"))),
        _ => Ok(()),
    }
}

fn positive(what: &'static str, value: f64) -> Result<(), Nonsense> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(Nonsense::new(what, value, "it must be a positive number"))
    }
}
