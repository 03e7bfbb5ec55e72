//! Input files, the same in every run.

/// A small generator: xorshift, seeded.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Bytes without a pattern.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    (0..length).map(|_| (noise.next() >> 32) as u8).collect()
}

/// Lines of numbers in no order.
pub(crate) fn numbers(lines: usize) -> Vec<u8> {
    let mut noise = Noise::new(lines as u64);
    let text: String = (0..lines).map(|_| format!("{}\n", noise.next() % 100_000)).collect();
    text.into_bytes()
}

/// An XML document with many elements.
pub(crate) fn prices(items: usize) -> Vec<u8> {
    let mut noise = Noise::new(items as u64);
    let mut text = String::from("<?xml version=\"1.0\"?>\n<catalogue>\n");
    for item in 0..items {
        text.push_str(&format!("  <item id=\"{item}\"><price>{}.50</price></item>\n", noise.next() % 100));
    }
    text.push_str("</catalogue>\n");
    text.into_bytes()
}

/// A PNG picture of noise, its data not compressed.
pub(crate) fn picture(width: u32, height: u32) -> Vec<u8> {
    let pixels = noise(u64::from(width), (width * height * 3) as usize);
    let rows: Vec<u8> = pixels.chunks((width * 3) as usize).flat_map(|row| [&[0], row].concat()).collect();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", stored(&rows)), (b"IEND", Vec::new())] {
        bytes.extend((data.len() as u32).to_be_bytes());
        let body = [&kind[..], &data].concat();
        bytes.extend(&body);
        bytes.extend(crc32(&body).to_be_bytes());
    }
    bytes
}

/// A zlib stream of stored blocks.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = data.chunks(0xFFFF);
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        let length = block.len() as u16;
        stream.push(u8::from(index == last));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xEDB8_8320 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// Seconds of noisy sound as a WAV file: 44.1 kHz, 16 bits, one channel.
pub(crate) fn sound(seconds: usize) -> Vec<u8> {
    let samples = noise(seconds as u64, seconds * 44_100 * 2);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((samples.len() as u32 + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    for field in [1u16, 1] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(44_100u32.to_le_bytes());
    bytes.extend(88_200u32.to_le_bytes());
    for field in [2u16, 16] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    bytes.extend(samples);
    bytes
}

/// MPEG audio frames (layer III, 128 kbit/s) whose contents are noise: no player would like it, taggers do.
pub(crate) fn mp3(frames: u64) -> Vec<u8> {
    (0..frames).flat_map(|frame| [vec![0xFF, 0xFB, 0x90, 0x00], noise(frame + 1, 413)].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_png() {
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
    }

    #[test]
    fn inputs_do_not_change_between_runs() {
        assert_eq!(noise(1, 100), noise(1, 100));
        assert_ne!(noise(1, 100), noise(2, 100));
    }
}
