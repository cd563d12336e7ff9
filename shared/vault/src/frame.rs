//! The plaintext of a sealed object: `length | codec | payload | zero padding`.
//!
//! Padding hides the exact compressed size, which would tell an observer of the store how well a guessed text compresses with
//! a tenant's own. Sizes follow Padmé: at most 3 % more from 64 KiB on, and few enough distinct sizes to say little.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zstd::{
    bulk,
    zstd_safe::{self, CParameter},
};

use crate::defect::Defect;

/// `length` and `codec`.
pub(crate) const HEADER_BYTES: usize = 5;
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Everything shorter is padded to this.
const BYTES_MIN: usize = 256;
/// Measured (`docs/performance.md`): level 1 compresses rows to 5 % more than level 3 at little more than half its cost, and a backup's
/// time is mostly compression. Not part of the format.
const ZSTD_LEVEL: i32 = 1;
/// A window of 128 KiB stays in a core's cache; chunks are not much longer, and larger ones found no more.
const ZSTD_WINDOW_LOG: u32 = 17;

/// The padded size of a frame of `bytes`: Padmé, with a floor.
pub(crate) fn padded(bytes: usize) -> usize {
    if bytes <= BYTES_MIN {
        return BYTES_MIN;
    }
    let exponent = bytes.ilog2();
    let low_bits = exponent - (exponent.ilog2() + 1);
    bytes.next_multiple_of(1 << low_bits)
}

/// Compresses and frames. Holds zstd's working memory, so one per thread of work.
pub(crate) struct Framer(bulk::Compressor<'static>);

impl Framer {
    pub(crate) fn new() -> Self {
        let mut compressor = bulk::Compressor::new(ZSTD_LEVEL).expect("the level is one of zstd's own");
        compressor.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG)).expect("the window is within zstd's bounds");
        Self(compressor)
    }

    /// Appends the frame of `plaintext` to `out`.
    pub(crate) fn frame(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let compressed = self.0.compress(plaintext).ok().filter(|compressed| compressed.len() < plaintext.len());
        let (codec, payload) = match &compressed {
            Some(compressed) => (ZSTD, compressed.as_slice()),
            None => (RAW, plaintext),
        };
        put(codec, payload, out);
    }
}

/// Framers for any number of threads: each is taken for one piece of work and given back.
#[derive(Default)]
pub(crate) struct Framers(Mutex<Vec<Framer>>);

impl Framers {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Framer) -> T) -> T {
        let idle = self.idle().pop();
        let mut framer = idle.unwrap_or_else(Framer::new);
        let done = work(&mut framer);
        self.idle().push(framer);
        done
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Framer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(codec: u8, payload: &[u8], out: &mut Vec<u8>) {
    let padded = padded(HEADER_BYTES + payload.len());
    let length = u32::try_from(payload.len()).expect("objects are capped far below 4 GiB");
    let end = out.len() + padded;
    out.reserve(padded);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(codec);
    out.extend_from_slice(payload);
    out.resize(end, 0);
}

/// Takes an authenticated frame apart. Never allocates more than `plaintext_max`.
pub(crate) fn unframe(frame: &[u8], plaintext_max: usize) -> Result<Vec<u8>, Defect> {
    let (length, rest) = frame.split_first_chunk::<4>().ok_or(Defect::Malformed("no length"))?;
    let (codec, rest) = rest.split_first().ok_or(Defect::Malformed("no codec"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Defect::Malformed("length"))?;
    let (payload, padding) = rest.split_at_checked(length).ok_or(Defect::Malformed("length beyond the end"))?;
    if frame.len() != padded(HEADER_BYTES + length) || padding.iter().any(|byte| *byte != 0) {
        return Err(Defect::Malformed("padding"));
    }
    match *codec {
        RAW if payload.len() <= plaintext_max => Ok(payload.to_vec()),
        RAW => Err(Defect::Malformed("more plaintext than allowed")),
        ZSTD => decompress(payload, plaintext_max),
        _ => Err(Defect::Malformed("unknown codec")),
    }
}

/// Decompresses one zstd frame that declares its size, into exactly that size.
fn decompress(payload: &[u8], plaintext_max: usize) -> Result<Vec<u8>, Defect> {
    let declared = zstd_safe::get_frame_content_size(payload).ok().flatten().and_then(|bytes| usize::try_from(bytes).ok());
    let declared = declared.ok_or(Defect::Malformed("zstd frame without a size"))?;
    if declared > plaintext_max {
        return Err(Defect::Malformed("more plaintext than allowed"));
    }
    // Capacity is exact, so a frame that holds more than it declares runs into its end.
    match bulk::decompress(payload, declared) {
        Ok(plaintext) if plaintext.len() == declared => Ok(plaintext),
        _ => Err(Defect::Malformed("zstd")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Framer::new().frame(plaintext, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_frame_gives_back_what_was_put_in(plaintext in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert_eq!(unframe(&framed(&plaintext), plaintext.len()).unwrap(), plaintext);
        }

        #[test]
        fn random_bytes_are_refused_or_read_without_panic(frame in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = unframe(&frame, 1_000);
        }

        #[test]
        fn padding_adds_little_and_keeps_order(bytes in 1_usize..(1 << 23)) {
            let padded_bytes = padded(bytes);
            prop_assert!(padded_bytes >= bytes);
            prop_assert!(padded_bytes <= BYTES_MIN || padded_bytes - bytes <= bytes / 8);
            prop_assert!(bytes < 65_536 || padded_bytes - bytes <= bytes / 32);
            prop_assert!(padded(bytes + 1) >= padded_bytes);
        }
    }

    #[test]
    fn a_small_object_shows_only_that_it_is_small() {
        assert_eq!(framed(b"").len(), framed(&[7; 200]).len());
    }

    #[test]
    fn what_does_not_compress_is_kept_raw() {
        assert_eq!(framed(b"abc")[4], RAW);
        assert_eq!(framed(&[b'a'; 1_000])[4], ZSTD);
    }

    #[test]
    fn a_zstd_bomb_is_refused_before_it_is_unpacked() {
        let mut frame = Vec::new();
        put(ZSTD, &bulk::compress(&vec![0; 256 << 20], 3).unwrap(), &mut frame);
        assert!(frame.len() < 40_000);
        assert_eq!(unframe(&frame, 4 << 20), Err(Defect::Malformed("more plaintext than allowed")));
    }

    #[test]
    fn a_zstd_bomb_that_lies_about_its_size_is_refused() {
        // Without a declared size, and with a second frame behind an honest first one.
        let mut streamed = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        std::io::Write::write_all(&mut streamed, &vec![0; 8 << 20]).unwrap();
        let mut frame = Vec::new();
        put(ZSTD, &streamed.finish().unwrap(), &mut frame);
        assert_eq!(unframe(&frame, 4 << 20), Err(Defect::Malformed("zstd frame without a size")));

        let mut two = bulk::compress(&[0; 10], 3).unwrap();
        two.extend(bulk::compress(&vec![0; 8 << 20], 3).unwrap());
        frame.clear();
        put(ZSTD, &two, &mut frame);
        assert_eq!(unframe(&frame, 4 << 20), Err(Defect::Malformed("zstd")));
    }

    #[test]
    fn a_length_beyond_the_end_and_padding_that_is_not_zero_are_refused() {
        let mut frame = framed(b"rows");
        *frame.last_mut().unwrap() = 1;
        assert_eq!(unframe(&frame, 10), Err(Defect::Malformed("padding")));
        let mut frame = framed(b"rows");
        frame[0] = 0xff;
        assert_eq!(unframe(&frame, 10), Err(Defect::Malformed("length beyond the end")));
        assert_eq!(unframe(&framed(b"rows"), 3), Err(Defect::Malformed("more plaintext than allowed")));
        assert_eq!(unframe(&[], 3), Err(Defect::Malformed("no length")));
    }
}
