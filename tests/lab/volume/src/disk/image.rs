//! A base in a file: a header, the length and checksum of the body, the body in postcard form.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Base, CLUSTER, Digest, Pages, SECTOR, SECTORS_PER_CLUSTER};

const MAGIC: &[u8; 8] = b"LABDISK1";

/// Why an image could not be read or written.
#[derive(Debug)]
pub enum ImageError {
    /// The file could not be read or written.
    Io(io::Error),
    /// It does not begin like an image of this lab.
    NotAnImage,
    /// The header promises more bytes than the file has.
    Truncated {
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The contents do not match the checksum, or do not decode.
    Damaged,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Io(error) => write!(f, "the image file cannot be read or written: {error}"),
            ImageError::NotAnImage => f.write_str("this is not a disk image of the lab (wrong header)"),
            ImageError::Truncated { expected, found } => {
                write!(f, "the image is cut off: its header promises {expected} bytes, {found} are there")
            }
            ImageError::Damaged => {
                f.write_str("the image is damaged: its contents do not match its checksum; take another copy")
            }
        }
    }
}

impl std::error::Error for ImageError {}

impl From<io::Error> for ImageError {
    fn from(error: io::Error) -> ImageError {
        ImageError::Io(error)
    }
}

/// FNV-1a, enough to notice an accident; an image is not a place for secrets.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

impl Base {
    /// The image of this base, as written by [`save`](Base::save).
    pub fn to_image(&self) -> Vec<u8> {
        let pages: Vec<(u64, &[u8])> = self.pages.iter().map(|(&at, page)| (at, &page[..])).collect();
        let log: Vec<&[u8]> = self.log.iter().map(|record| &record[..]).collect();
        let body = postcard::to_stdvec(&(self.clusters, pages, log)).expect("plain data encodes");
        let mut image = MAGIC.to_vec();
        image.extend_from_slice(&(body.len() as u64).to_le_bytes());
        image.extend_from_slice(&checksum(&body).to_le_bytes());
        image.extend_from_slice(&body);
        image
    }

    /// Reads an image.
    ///
    /// # Errors
    /// [`ImageError`], never a panic, whatever the bytes are.
    pub fn from_image(image: &[u8]) -> Result<Base, ImageError> {
        let rest = image.strip_prefix(MAGIC).ok_or(ImageError::NotAnImage)?;
        let short = || ImageError::Truncated { expected: 16, found: rest.len() as u64 };
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (sum, body) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let expected = u64::from_le_bytes(*length);
        if (body.len() as u64) < expected {
            return Err(ImageError::Truncated { expected, found: body.len() as u64 });
        }
        if body.len() as u64 > expected || checksum(body) != u64::from_le_bytes(*sum) {
            return Err(ImageError::Damaged);
        }
        type Body<'a> = (u64, Vec<(u64, &'a [u8])>, Vec<&'a [u8]>);
        let (clusters, pages, log): Body<'_> = postcard::from_bytes(body).map_err(|_| ImageError::Damaged)?;
        let mut contents = Pages::new();
        let mut digest = Digest::default();
        for (at, page) in pages {
            if at >= clusters || page.len() != CLUSTER {
                return Err(ImageError::Damaged);
            }
            for (sector, bytes) in (at * SECTORS_PER_CLUSTER..).zip(page.chunks(SECTOR)) {
                digest.replace_sector(sector, &[], bytes);
            }
            contents.insert(at, Arc::from(page));
        }
        for (position, record) in log.iter().enumerate() {
            digest.add_record(position, record);
        }
        let log = log.into_iter().map(Arc::from).collect();
        Ok(Base { clusters, pages: Arc::new(contents), log: Arc::new(log), digest })
    }

    /// Writes the image to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ImageError> {
        Ok(std::fs::write(path, self.to_image())?)
    }

    /// Reads the image in a file.
    ///
    /// # Errors
    /// [`ImageError`], with what is wrong.
    pub fn load(path: &Path) -> Result<Base, ImageError> {
        Base::from_image(&std::fs::read(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Base {
        let mut base = Base::blank(9);
        base.write(3, &[5; 512]);
        base.append(&Arc::from([1, 2, 3]));
        base
    }

    #[test]
    fn an_image_reads_back() {
        assert_eq!(Base::from_image(&sample().to_image()).unwrap(), sample());
    }

    #[test]
    fn a_truncated_image_says_so() {
        let image = sample().to_image();
        for length in MAGIC.len()..image.len() {
            let error = Base::from_image(&image[..length]).unwrap_err();
            assert!(matches!(error, ImageError::Truncated { .. }), "{length}: {error}");
        }
        assert!(matches!(Base::from_image(b"PK"), Err(ImageError::NotAnImage)));
    }

    #[test]
    fn a_damaged_image_says_so() {
        let image = sample().to_image();
        for at in (MAGIC.len()..image.len()).step_by(7) {
            let mut bad = image.clone();
            bad[at] ^= 0x10;
            assert!(Base::from_image(&bad).is_err(), "byte {at}");
        }
    }
}
