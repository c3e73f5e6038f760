//! Samples: files, lengths and context.

pub mod assistant_loss_without_assistant;
pub mod context_beyond_positions;
pub mod context_shorter_than_images;
pub mod data_file_empty;
pub mod data_file_missing;
pub mod image_size_without_images;
pub mod images_without_size;
pub mod images_without_tower;
pub mod pad_equals_eos;
pub mod pad_to_max_length;
pub mod seq_shorter_than_data;
pub mod train_on_prompt_chat;
