//! A stand-in for S3's version listing, tags, heads, copies and deletions over plain HTTP, for tests: strict where the emulator is not, and
//! large without holding anything.
