//! What is written comes back, whatever it is.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use vault::{Digester, Share, StreamSink, caps};

use crate::world::{ARCHIVE, PEOPLE, World, finish, header, names, noise, noon, read, table, write};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[tokio::test]
async fn a_recovery_point_reads_back_as_it_was_written() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up(names).await.unwrap();
    let reader = world.open(names, &written.point).await.unwrap();

    assert_eq!(read(&reader, "app.people").await.unwrap(), PEOPLE);
    assert_eq!(read(&reader, "app.nobody").await.unwrap(), b"");
    assert_eq!(reader.blob("pre-data").await.unwrap(), ARCHIVE);
    let manifest = reader.manifest();
    assert_eq!(manifest.facts, json!({"engine": "PostgreSQL 15"}));
    assert_eq!(
        (manifest.tenant, manifest.point, manifest.run, manifest.written_at),
        (names.tenant, names.point, names.run, noon())
    );
    assert_eq!((manifest.stream("app.people").unwrap().rows, manifest.stream("app.nobody").unwrap().rows), (3, 0));
    assert_eq!((written.rows, written.chunks, written.chunks_reused, written.packs), (3, 2, 0, 1));
    assert_eq!(written.plaintext_bytes, (PEOPLE.len() + ARCHIVE.len()) as u64);

    let report = world.vault.check(names.tenant, names.point, &written.point, Share::ALL).await.unwrap();
    assert!(report.is_clean());
    assert_eq!((report.links, report.streams, report.rows, report.chunks, report.chunks_read), (1, 2, 3, 2, 2));
}

#[tokio::test]
async fn what_was_stored_adds_up_to_what_the_writer_says() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up(names).await.unwrap();
    let content = world.store.objects().into_iter().filter(|(key, _)| !key.contains("/keys/"));
    assert_eq!(written.stored_bytes, content.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
}

#[tokio::test]
async fn a_name_that_is_not_there_is_an_error_that_says_so() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up(names).await.unwrap();
    let reader = world.open(names, &written.point).await.unwrap();
    let error = read(&reader, "app.pets").await.unwrap_err().to_string();
    assert_eq!(error, "rp_00000000-0000-0000-0000-000000000002 holds no stream named `app.pets`");
    assert!(reader.blob("app.people").await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn hostile_rows_come_back_byte_for_byte(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>().prop_filter("a line", |byte| *byte != b'\n'), 0..20_000), 0..40),
        keyed in any::<bool>(),
    ) {
        run(async {
            let (world, names) = (World::new(), names(1, 2, 3));
            let mut header = header("people");
            if !keyed {
                header.key_columns.clear();
            }
            // A key field at the front, as a row of that header has.
            let lines: Vec<Vec<u8>> = lines.into_iter().enumerate()
                .map(|(key, line)| [format!("{key}\t").as_bytes(), &line, b"\n"].concat())
                .collect();
            let writer = world.begin(names).await;
            let digester = Digester::new(writer.tenant_secret());
            let stream = writer.open(header.clone()).unwrap();
            let mut slice = stream.slice().unwrap();
            for line in &lines {
                slice.rows(Bytes::copy_from_slice(line)).await.unwrap();
            }
            slice.end().await.unwrap();
            let summary = stream.end().await.unwrap();
            assert_eq!(summary, write(&digester, header, &lines.concat()).await.unwrap());
            assert_eq!(summary.rows, lines.len() as u64);

            let written = finish(writer).await;
            assert_eq!(world.read(names, &written.point, "app.people").await.unwrap(), lines.concat());
            assert_eq!(world.findings(names, &written.point).await, [""; 0]);
        });
    }
}

#[tokio::test]
async fn a_row_longer_than_a_chunk_comes_back_in_pieces() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let rows = [b"1\tsmall\n2\t".as_slice(), &noise(2 * caps::CHUNK_BYTES_MAX, 5), b"\n3\tsmall\n"].concat();
    let written = world.back_up_rows(names, None, header("people"), &rows).await;
    assert_eq!(written.rows, 3);

    let reader = world.open(names, &written.point).await.unwrap();
    let mut slice = reader.stream("app.people").unwrap().all();
    let (mut back, mut mid_row) = (Vec::new(), Vec::new());
    while let Some(chunk) = slice.next().await.unwrap() {
        assert!(chunk.len() <= caps::CHUNK_BYTES_MAX);
        back.extend_from_slice(&chunk);
        mid_row.push(slice.is_mid_row());
    }
    assert!(back == rows);
    assert_eq!(mid_row, [false, true, true, false, false]);
    assert_eq!(world.findings(names, &written.point).await, [""; 0]);
}

#[tokio::test]
async fn a_document_of_several_pieces_comes_back_whole() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    let document = noise(3 * caps::BLOB_PIECE_BYTES + 17, 9);
    writer.blob("archive", &document).await.unwrap();
    writer.blob("empty", b"").await.unwrap();
    let written = finish(writer).await;
    let reader = world.open(names, &written.point).await.unwrap();
    assert!(reader.blob("archive").await.unwrap() == document);
    assert_eq!(reader.blob("empty").await.unwrap(), b"".as_slice());
}

#[tokio::test]
async fn packs_keep_to_their_sizes_and_a_bounded_number_is_under_way() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up_rows(names, None, header("people"), &table(0..70, 1 << 20, 0)).await;
    let packs = world.store.objects().into_iter().filter(|(key, _)| key.contains("/packs/"));
    let sizes: Vec<usize> = packs.map(|(_, pack)| pack.len()).collect();
    assert_eq!(sizes.len() as u64, written.packs);
    assert!(sizes.len() >= 4);
    assert!(sizes.iter().all(|bytes| *bytes <= 21 << 20), "{sizes:?}");
    assert_eq!(sizes.iter().filter(|bytes| **bytes < caps::PACK_BYTES_TARGET).count(), 1, "only the last: {sizes:?}");
    // How many there really are depends on how fast rows come.
    assert!((1..=caps::UPLOADS_IN_FLIGHT_MAX).contains(&world.store.puts_in_flight_max()));
    assert_eq!(world.findings(names, &written.point).await, [""; 0]);
}

#[tokio::test]
async fn the_store_sees_no_plaintext_and_no_name() {
    let (world, names) = (World::new(), names(1, 2, 3));
    world.back_up(names).await.unwrap();
    for (key, bytes) in world.store.objects() {
        for word in ["canary", "grace", "people", "app.", "name", "PostgreSQL", "CREATE"] {
            let seen = key.contains(word) || bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!seen, "`{word}` in {key}");
        }
    }
}
