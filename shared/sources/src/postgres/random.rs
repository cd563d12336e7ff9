//! Randomness for passwords and temporary names, from the operating system by way of the TLS library.

use std::io;

/// This many random bytes in hexadecimal.
pub(crate) fn hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut random).map_err(|_| io::Error::other("the operating system gave no randomness"))?;
    Ok(::hex::encode(random))
}
