//! How long it takes to read and to format `.mem` text: `cargo bench -p memspec --bench language`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use memspec::lang::{format, lex, parse};
use memspec::plan::read_text;

/// A plan of 600 bytes, as people write it.
const PLAN: &str = include_str!("plan.mem");

/// Plans like that, one after the other, each with a name and a `let` of its own.
fn plans(bytes: usize) -> String {
    let body = PLAN.strip_prefix("mem 1\n").unwrap_or(PLAN);
    let mut text = "mem 1\n".to_owned();
    for n in 0.. {
        let plan = body.replace("llama-qlora", &format!("llama-qlora-{n}"));
        let plan = plan.replace("tokens", &format!("tokens_{n}")).replace("cards", &format!("cards_{n}"));
        if text.len() + plan.len() > bytes {
            break;
        }
        text += &plan;
    }
    text
}

fn language(criterion: &mut Criterion) {
    for text in [PLAN.to_owned(), plans(1_000_000), plans(2_000_000)] {
        let document = read_text("plan.mem", &*text);
        assert_eq!((document.problems.as_slice(), parse(&text).errors.as_slice()), ([].as_slice(), [].as_slice()));
        let mut group = criterion.benchmark_group(format!("{} bytes", text.len()));
        group.throughput(Throughput::Bytes(text.len() as u64));
        if text.len() > PLAN.len() {
            group.sample_size(20);
        }
        let mut measure = |what: &str, run: &dyn Fn(&str)| {
            group.bench_with_input(BenchmarkId::from_parameter(what), &*text, |bencher, text| {
                bencher.iter(|| run(black_box(text)));
            });
        };
        measure("lex", &|text| _ = black_box(lex(text)));
        measure("parse", &|text| _ = black_box(parse(text)));
        measure("read", &|text| _ = black_box(read_text("plan.mem", text)));
        measure("format", &|text| _ = black_box(format(text)));
        group.finish();
    }
}

criterion_group!(benches, language);
criterion_main!(benches);
