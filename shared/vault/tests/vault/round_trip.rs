//! What is written comes back, whatever it is, and costs what it should.

use proptest::prelude::*;
use serde_json::json;
use vault::{Digester, StreamSink, caps};

use crate::world::{ARCHIVE, PEOPLE, World, header, names, noise, noon, read};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[tokio::test]
async fn a_recovery_point_reads_back_as_it_was_written() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up(names).await.unwrap();
    let reader = world.open(names, &written.manifest).await.unwrap();

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
    assert_eq!((written.rows, written.chunks, written.packs), (3, 2, 1));
    assert_eq!(written.plaintext_bytes, (PEOPLE.len() + ARCHIVE.len()) as u64);

    let report = world.vault.check(names.tenant, names.point, &written.manifest).await.unwrap();
    assert!(report.is_clean());
    assert_eq!((report.streams, report.rows, report.chunks), (2, 3, 2));
}

#[tokio::test]
async fn a_name_that_is_not_there_is_an_error_that_says_so() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up(names).await.unwrap();
    let reader = world.open(names, &written.manifest).await.unwrap();
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
            let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
            let mut digester = Digester::new(writer.tenant_secret());
            writer.begin_stream(header.clone()).await.unwrap();
            digester.begin_stream(header).await.unwrap();
            for line in &lines {
                writer.rows(line).await.unwrap();
            }
            digester.rows(&lines.concat()).await.unwrap();
            let summary = writer.end_stream().await.unwrap();
            assert_eq!(summary, digester.end_stream().await.unwrap());
            assert_eq!(summary.rows, lines.len() as u64);

            let written = writer.finish(json!(null), noon()).await.unwrap();
            let reader = world.open(names, &written.manifest).await.unwrap();
            assert_eq!(read(&reader, "app.people").await.unwrap(), lines.concat());
            assert_eq!(world.findings(names, &written.manifest).await, Vec::<String>::new());
        });
    }
}

#[tokio::test]
async fn a_row_longer_than_a_chunk_comes_back_in_pieces() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let rows = [b"1\tsmall\n2\t".as_slice(), &noise(2 * caps::CHUNK_BYTES_MAX, 5), b"\n3\tsmall\n"].concat();
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    writer.begin_stream(header("people")).await.unwrap();
    writer.rows(&rows).await.unwrap();
    assert_eq!(writer.end_stream().await.unwrap().rows, 3);
    let written = writer.finish(json!(null), noon()).await.unwrap();

    let reader = world.open(names, &written.manifest).await.unwrap();
    let mut stream = reader.stream("app.people").await.unwrap();
    let (mut back, mut mid_row) = (Vec::new(), Vec::new());
    while let Some(chunk) = stream.next().await.unwrap() {
        assert!(chunk.len() <= caps::CHUNK_BYTES_MAX);
        back.extend_from_slice(&chunk);
        mid_row.push(stream.is_mid_row());
    }
    assert_eq!(back, rows);
    assert_eq!(mid_row, [false, true, true, false, false]);
    assert_eq!(world.findings(names, &written.manifest).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_document_of_several_pieces_comes_back_whole() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    let document = noise(3 * caps::BLOB_PIECE_BYTES + 17, 9);
    writer.blob("archive", &document).await.unwrap();
    writer.blob("empty", b"").await.unwrap();
    let written = writer.finish(json!(null), noon()).await.unwrap();
    let reader = world.open(names, &written.manifest).await.unwrap();
    assert_eq!(reader.blob("archive").await.unwrap(), document);
    assert_eq!(reader.blob("empty").await.unwrap(), b"".as_slice());
}

#[tokio::test]
async fn packs_keep_to_their_sizes_and_a_bounded_number_is_under_way() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    writer.begin_stream(header("people")).await.unwrap();
    for key in 0..70_u64 {
        writer.rows(&[format!("{key}\t").into_bytes(), noise(1 << 20, key), b"\n".to_vec()].concat()).await.unwrap();
    }
    writer.end_stream().await.unwrap();
    let written = writer.finish(json!(null), noon()).await.unwrap();

    let sizes: Vec<usize> =
        world.store.objects().iter().filter(|(key, _)| key.contains("/packs/")).map(|(_, pack)| pack.len()).collect();
    assert_eq!(sizes.len() as u64, written.packs);
    assert!(sizes.len() >= 4);
    assert!(sizes.iter().all(|bytes| *bytes <= 32 << 20));
    assert_eq!(
        sizes.iter().filter(|bytes| **bytes < 8 << 20).count(),
        usize::from(written.stored_bytes % (16 << 20) > 0),
        "{sizes:?}"
    );
    assert_eq!(world.store.puts_in_flight_max(), caps::UPLOADS_IN_FLIGHT_MAX);
    assert_eq!(world.findings(names, &written.manifest).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_record_costs_one_call_and_neighbouring_chunks_one_request() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    assert_eq!(world.keys.calls(), 2, "one for the tenant's secret, one for the run");
    writer.begin_stream(header("people")).await.unwrap();
    for key in 0..8_u64 {
        writer.rows(&[format!("{key}\t").into_bytes(), noise(400_000, key), b"\n".to_vec()].concat()).await.unwrap();
    }
    writer.end_stream().await.unwrap();
    let written = writer.finish(json!(null), noon()).await.unwrap();
    assert_eq!(world.keys.calls(), 2);
    assert_eq!(written.chunks, 8);
    assert_eq!(world.store.calls(), 5, "look for the secret, store it, the key record, one pack, the manifest");

    let reader = world.open(names, &written.manifest).await.unwrap();
    assert_eq!((world.keys.calls(), world.store.calls()), (4, 8), "the manifest and two key records");
    read(&reader, "app.people").await.unwrap();
    assert_eq!((world.keys.calls(), world.store.calls()), (4, 9), "eight neighbours in one range");
}

#[tokio::test]
async fn the_store_sees_no_plaintext_and_no_name() {
    let (world, names) = (World::new(), names(1, 2, 3));
    world.back_up(names).await.unwrap();
    for (key, bytes) in world.store.objects() {
        for word in ["canary", "ada", "grace", "people", "app.", "name", "PostgreSQL", "CREATE"] {
            let seen = key.contains(word) || bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!seen, "`{word}` in {key}");
        }
    }
}

#[tokio::test]
async fn streams_can_be_read_side_by_side() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up(names).await.unwrap();
    let reader = world.open(names, &written.manifest).await.unwrap();
    let other = reader.clone();
    let task = tokio::spawn(async move { read(&other, "app.people").await.unwrap() });
    assert_eq!(read(&reader, "app.people").await.unwrap(), task.await.unwrap());
}
