//! The one style of `.mem` text, and its laws.
#![cfg(feature = "lang")]

mod laws;
mod nearly;

use laws::mem as check;
use memspec::lang::format;
use nearly::{file, nearly};
use proptest::prelude::*;

#[test]
fn examples_are_in_the_style() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let Ok(folder) = std::fs::read_dir(examples) else { return };
    for entry in folder {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "mem") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(check(&text), text, "{}", path.display());
        }
    }
    check(include_str!("fixtures/good.mem"));
}

#[test]
fn the_style() {
    let messy = r#"
mem 1
let   a=1
let wide = 2 *1024tok # tokens
## The first.
plan "p"{
    model="m"   # a folder
    device = cuda:0 # the first card


    # what is learnt
    adapter lora{rank=8;alpha = - 2*( rank+1 )}
  quantize nf4 { }
    data { path = "a"; context = wide;
           format=chat }
  train {
    micro_batch = fit[ 8,4 ]
    learning_rate=sweep [1e-4, # low
      2e-4,
      # high
      4e-4]
    betas = [0.9, 0.999,]
    accumulate = max( 1,16/4 )   # to 16
  }
  budget { device_memory<=14.5GiB
  wall_clock <= 6h }
}
plan "q" { model = "m"; device = t4 }
"#;
    insta::assert_snapshot!(check(messy), @r#"
    mem 1
    let a    = 1
    let wide = 2 * 1024tok  # tokens
    ## The first.
    plan "p" {
      model  = "m"     # a folder
      device = cuda:0  # the first card

      # what is learnt
      adapter lora { rank = 8; alpha = -2 * (rank + 1) }
      quantize nf4 { }
      data {
        path    = "a"
        context = wide
        format  = chat
      }
      train {
        micro_batch   = fit [8, 4]
        learning_rate = sweep [
          1e-4,  # low
          2e-4,
          # high
          4e-4
        ]
        betas         = [
          0.9,
          0.999,
        ]
        accumulate    = max(1, 16 / 4)  # to 16
      }
      budget {
        device_memory <= 14.5GiB
        wall_clock    <= 6h
      }
    }

    plan "q" { model = "m"; device = t4 }
    "#);
}

#[test]
fn what_is_wrong_stays() {
    let text = "let a  =  1\n\nplan \"p\" {\n   model=\"m\n}\n\n\nplan \"q\"  {\n model=\"m\"\n}\n";
    insta::assert_snapshot!(check(text), @r#"
    let a = 1

    plan "p" {
       model="m
    }

    plan "q" {
      model = "m"
    }
    "#);
    // A line with a mistake of meaning is laid out; a name without quotes keeps its dashes.
    insta::assert_snapshot!(check("plan \"p\" {\n model=\"m\"\n device=a100-80\n train{micro_batch=6h}\n}"), @r#"
    plan "p" {
      model  = "m"
      device = a100-80
      train { micro_batch = 6h }
    }
    "#);
}

#[test]
fn line_ends_stay_those_of_the_file() {
    assert_eq!(format("let a=1\r\nlet b=2\r\n"), "let a = 1\r\nlet b = 2\r\n");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_formatted(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn nearly_a_plan_is_formatted(text in nearly()) {
        check(&text);
        check(&format!("plan \"p\" {{\n{text}"));
        check(&format!("plan \"p\" {{\n{text}\n}}\n"));
    }

    #[test]
    fn a_file_of_profiles_is_formatted(text in file()) {
        check(&text);
    }
}
