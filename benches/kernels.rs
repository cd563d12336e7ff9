//! The inner loops of a backup and a restore, by the megabyte of rows: `cargo bench -p holdfast-benches`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vault::kernels::Kernels;

/// Rows of four kinds, as `COPY` gives them: the same every time, and as compressible as business data.
fn rows(bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "invoice", "customer", "pending", "shipped", "north", "blue", "annual", "review", "contract", "basic", "premium",
        "order", "paid", "open", "closed", "Berlin", "Lyon", "Porto", "weekly", "report", "draft", "final", "note", "team",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = String::with_capacity(bytes + 2_000);
    for id in 1.. {
        if text.len() >= bytes {
            break;
        }
        let words = |count: u64, next: &mut dyn FnMut() -> u64| {
            (0..count).map(|_| WORDS[(next() % 24) as usize]).collect::<Vec<_>>().join(" ")
        };
        let row = match id % 4 {
            0 => format!("{id}\t{}\t{}\t2026-11-{:02} 10:{:02}:00+00\n", next() % 1_000, next() % 100_000, id % 28 + 1, id % 60),
            1 => format!("{id}\t{}\t{}\n", words(18, &mut next), next() % 10_000),
            2 => format!(
                "{id}\t{{\"status\": \"{}\", \"items\": [{}], \"text\": \"{}\"}}\n",
                words(1, &mut next),
                next() % 99,
                words(110, &mut next)
            ),
            _ => format!("{:016x}{:016x}\t{}\t{}\n", next(), next(), id, words(3, &mut next)),
        };
        text.push_str(&row);
    }
    text.into_bytes()
}

fn kernels(criterion: &mut Criterion) {
    let rows = rows(8 << 20);
    let mut kernels = Kernels::default();
    let chunks = kernels.cut(&rows);
    let chunk = chunks.iter().find(|chunk| chunk.len() > 200_000).expect("a chunk of usual size");
    let id = kernels.identify(chunk);
    let (frame, sealed) = (kernels.frame(chunk), kernels.seal(id, chunk));

    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Bytes(rows.len() as u64));
    group.bench_function("cut", |bencher| bencher.iter(|| black_box(kernels.cut(&rows))));
    group.bench_function("digest", |bencher| bencher.iter(|| black_box(kernels.digest(&rows))));
    group.finish();

    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    group.bench_function("identify", |bencher| bencher.iter(|| black_box(kernels.identify(chunk))));
    group.bench_function("frame", |bencher| bencher.iter(|| black_box(kernels.frame(chunk))));
    group.bench_function("seal", |bencher| bencher.iter(|| black_box(kernels.seal(id, chunk))));
    group.bench_function("unframe", |bencher| bencher.iter(|| black_box(kernels.unframe(&frame))));
    group.bench_function("open", |bencher| bencher.iter(|| black_box(kernels.open(id, &sealed, chunk.len()))));
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
