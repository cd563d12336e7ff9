//! Slices are written and read side by side, and follow each other in the order they were opened.

use proptest::prelude::*;
use vault::{PointReader, StreamSink};

use crate::world::{World, finish, header, names, read, table, write, write_slices};

/// Each slice's rows, read side by side.
async fn read_slices(reader: &PointReader) -> Vec<Vec<u8>> {
    let stream = reader.stream("app.people").unwrap();
    let read = |index| {
        let mut slice = stream.slice(index);
        async move {
            let mut rows = Vec::new();
            while let Some(chunk) = slice.next().await.unwrap() {
                rows.extend_from_slice(&chunk);
            }
            rows
        }
    };
    futures::future::join_all((0..stream.slices()).map(read)).await
}

/// Writes slices at once, reads them together and one by one, and compares the digest with that of one slice.
async fn come_back_in_order(slices: &[Vec<u8>]) {
    let world = World::new();
    let writer = world.begin(names(1, 2, 3)).await;
    let together = write_slices(&writer, header("people"), slices).await.unwrap();
    let written = finish(writer).await;

    let reader = world.open(names(1, 2, 3), &written.point).await.unwrap();
    assert!(read(&reader, "app.people").await.unwrap() == slices.concat());
    assert!(read_slices(&reader).await == slices);
    assert_eq!(world.findings(names(1, 2, 3), &written.point).await, [""; 0]);

    let writer = world.begin(names(1, 12, 13)).await;
    let alone = write(&writer, header("people"), &slices.concat()).await.unwrap();
    assert_eq!(together, alone, "the digest does not tell how a stream was sliced");
}

fn two_tables() -> Vec<Vec<u8>> {
    vec![table(0..6_000, 1_000, 0), table(6_000..9_000, 1_000, 0), Vec::new(), table(9_000..9_001, 5 << 20, 0)]
}

#[tokio::test]
async fn slices_written_side_by_side_read_back_in_order() {
    come_back_in_order(&two_tables()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slices_written_on_several_threads_read_back_in_order() {
    come_back_in_order(&two_tables()).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_slices_read_back_in_order(slices in proptest::collection::vec((0..400_u64, 1..3_000_usize), 1..8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let rows = |(n, (count, width)): (usize, (u64, usize))| table(n as u64 * 1_000..n as u64 * 1_000 + count, width, 0);
        let slices: Vec<_> = slices.into_iter().enumerate().map(rows).collect();
        runtime.block_on(come_back_in_order(&slices));
    }
}

#[tokio::test]
async fn slices_keep_the_order_in_which_they_were_opened_not_ended() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    let stream = writer.open(header("people")).unwrap();
    let (mut first, mut second) = (stream.slice().unwrap(), stream.slice().unwrap());
    second.rows("2\tsecond\n".into()).await.unwrap();
    second.end().await.unwrap();
    first.rows("1\tfirst\n".into()).await.unwrap();
    first.end().await.unwrap();
    assert_eq!(stream.end().await.unwrap().rows, 2);
    let written = finish(writer).await;
    assert_eq!(world.read(names, &written.point, "app.people").await.unwrap(), b"1\tfirst\n2\tsecond\n");
}

#[tokio::test]
async fn a_stream_of_more_slices_than_allowed_is_refused() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    let stream = writer.open(header("people")).unwrap();
    for _ in 0..vault::caps::SLICES_PER_STREAM_MAX {
        stream.slice().unwrap();
    }
    assert!(stream.slice().err().unwrap().to_string().contains("slices of a stream would exceed"));
}

#[tokio::test]
async fn many_streams_share_few_lists_and_each_reads_back() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    for n in 0..300 {
        write(&writer, header(&format!("t{n}")), format!("{n}\trow\n").as_bytes()).await.unwrap();
    }
    let written = finish(writer).await;
    assert_eq!(world.stored("/lists/").len(), 1);
    let reader = world.open(names, &written.point).await.unwrap();
    for n in (0..300).step_by(37) {
        assert_eq!(read(&reader, &format!("app.t{n}")).await.unwrap(), format!("{n}\trow\n").as_bytes());
    }
    assert_eq!(world.findings(names, &written.point).await, [""; 0]);
}
