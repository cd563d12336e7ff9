//! Lists open in their place, and segments that are not there are refused.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{chunk::ChunkId, random::SystemRandom, rows_digest::RowsDigest};

fn secret(byte: u8) -> TenantSecret {
    TenantSecret::new(&SecretKey::from_slice(&[byte; 32]).unwrap())
}

fn entry(n: u8) -> ChunkEntry {
    let (id, digest) = (ChunkId::from_bytes([n; 32]), RowsDigest::from_bytes([n; 64]));
    ChunkEntry { id, digest, pack: n.into(), offset: 300, length: 400, plaintext_bytes: 500, rows: 6, continues: n % 2 == 1 }
}

fn list_of(segments: &[(StreamId, Vec<ChunkEntry>)]) -> (ListBuilder, Vec<Segment>) {
    let mut builder = ListBuilder::default();
    let place = |(stream, entries): &(StreamId, Vec<ChunkEntry>)| {
        let chunks = u32::try_from(entries.len()).unwrap();
        Segment { list: 0, offset: builder.push(*stream, entries), chunks }
    };
    let placed = segments.iter().map(place).collect();
    (builder, placed)
}

proptest! {
    #[test]
    fn a_list_gives_back_its_segments(segments in proptest::collection::vec((any::<[u8; 32]>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..20)) {
        let entries = |numbers: Vec<u8>| numbers.into_iter().map(entry).collect();
        let segments: Vec<(StreamId, Vec<ChunkEntry>)> = segments.into_iter().map(|(id, numbers)| (StreamId(id), entries(numbers))).collect();
        let (builder, placed) = list_of(&segments);
        let list = ChunkList(builder.0.into());
        prop_assert_eq!(&list.segments().unwrap(), &segments);
        for (segment, (stream, entries)) in placed.iter().zip(&segments) {
            prop_assert_eq!(&list.segment(segment, *stream).unwrap(), entries);
        }
    }

    #[test]
    fn any_bytes_are_a_list_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1_000), offset in 0..1_100_u32, chunks in 0..3_u32) {
        let list = ChunkList(bytes.into());
        let _ = list.segments();
        let _ = list.segment(&Segment { list: 0, offset, chunks }, StreamId::DOCUMENT);
    }
}

#[test]
fn a_list_is_laid_out_as_the_format_says() {
    let (builder, _) = list_of(&[(StreamId([9; 32]), vec![entry(1)])]);
    let numbers = [1_u32, 300, 400, 500, 6].map(u32::to_be_bytes).concat();
    let expected = [&[9; 32][..], &[0, 0, 0, 1], &[1; 32], &[1; 64], &numbers, &[1]].concat();
    assert_eq!(builder.0, expected);
}

#[test]
fn a_list_opens_in_its_place_and_nowhere_else() {
    let (main, other): (VaultId, VaultId) = ("main".parse().unwrap(), "other".parse().unwrap());
    let place = |vault, tenant, run, number| {
        let (tenant, run) = (VaultTenantId::from_uuid(Uuid::from_u128(tenant)), RunId::from_uuid(Uuid::from_u128(run)));
        ListPlace { vault, tenant, run, number }
    };
    let segments = vec![(StreamId::DOCUMENT, vec![entry(1)])];
    let home = place(&main, 1, 2, 3);
    let sealed = list_of(&segments).0.seal(&home, &secret(1), &mut Framer::new(), &SystemRandom).unwrap();
    assert_eq!(ChunkList::open(&sealed, &home, &secret(1)).unwrap().segments(), Ok(segments));
    for elsewhere in [place(&other, 1, 2, 3), place(&main, 9, 2, 3), place(&main, 1, 9, 3), place(&main, 1, 2, 9)] {
        assert_eq!(ChunkList::open(&sealed, &elsewhere, &secret(1)).err(), Some(Defect::WrongTag));
    }
    assert_eq!(ChunkList::open(&sealed, &home, &secret(2)).err(), Some(Defect::WrongCommitment));
}

#[test]
fn a_segment_of_another_stream_or_count_is_refused() {
    let (builder, placed) = list_of(&[(StreamId([9; 32]), vec![entry(1), entry(2)])]);
    let list = ChunkList(builder.0.into());
    let [ours] = placed[..] else { panic!("one segment") };
    assert_eq!(list.segment(&ours, StreamId::DOCUMENT), Err(Defect::BelongsElsewhere("stream")));
    let refused = |segment: Segment| list.segment(&segment, StreamId([9; 32])).unwrap_err();
    assert_eq!(refused(Segment { chunks: 1, ..ours }), Defect::Malformed("chunk list: another number of chunks"));
    assert_eq!(refused(Segment { offset: 1, ..ours }), Defect::Malformed("chunk list: cut short"));
    assert_eq!(refused(Segment { offset: 10_000, ..ours }), Defect::Malformed("chunk list: no segment there"));
}

#[test]
fn a_list_is_closed_before_it_would_hold_more_than_is_allowed() {
    let mut builder = ListBuilder::default();
    while builder.has_room_for(SEGMENT_ENTRIES_MAX) {
        builder.push(StreamId::DOCUMENT, &vec![entry(1); SEGMENT_ENTRIES_MAX]);
    }
    assert!((SEGMENT_ENTRIES_MAX * ENTRY_BYTES..=caps::LIST_BYTES_TARGET).contains(&builder.0.len()));
}
