//! One file out of a wheel, the zip archive that `pip download` leaves: [`member`]. Must not know what is in it.
//!
//! 从 wheel（zip）中取出一个文件。

use std::io::Read as _;

/// The file `name` of `archive`.
///
/// # Errors
/// Where the archive is none, has no such file, or is damaged.
pub(super) fn member(archive: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let entry = entries(archive)?.into_iter().find(|entry| entry.name == name.as_bytes());
    let entry = entry.ok_or_else(|| format!("the archive has no {name}"))?;
    let bytes = entry.unpack(archive).ok_or_else(|| format!("{name} is damaged in the archive"))?;
    let mut crc = flate2::Crc::new();
    crc.update(&bytes);
    if crc.sum() == entry.crc { Ok(bytes) } else { Err(format!("{name} is damaged in the archive")) }
}

/// Where a file lies in an archive.
struct Entry<'a> {
    name: &'a [u8],
    method: u16,
    crc: u32,
    packed: usize,
    header: usize,
}

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

impl Entry<'_> {
    fn unpack(&self, archive: &[u8]) -> Option<Vec<u8>> {
        let header = archive.get(self.header..)?;
        let data = 30 + usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
        let packed = header.get(data..data + self.packed)?;
        match self.method {
            STORED => Some(packed.to_vec()),
            DEFLATED => {
                let mut bytes = Vec::new();
                flate2::read::DeflateDecoder::new(packed).read_to_end(&mut bytes).ok()?;
                Some(bytes)
            }
            _ => None,
        }
    }
}

/// The archive's table of contents, which stands at its end.
fn entries(archive: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let no_archive = || "it is no zip archive".to_owned();
    let end = archive.windows(4).rposition(|window| window == b"PK\x05\x06").ok_or_else(no_archive)?;
    let count = u16_at(archive, end + 10).ok_or_else(no_archive)?;
    let mut at = u32_at(archive, end + 16).ok_or_else(no_archive)? as usize;
    let mut found = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (entry, length) = entry(archive, at).ok_or_else(no_archive)?;
        found.push(entry);
        at += length;
    }
    Ok(found)
}

/// The entry at `at` of the table of contents, and how long it is.
fn entry(archive: &[u8], at: usize) -> Option<(Entry<'_>, usize)> {
    let entry = archive.get(at..).filter(|entry| entry.starts_with(b"PK\x01\x02"))?;
    let lengths = [28, 30, 32].map(|field| u16_at(entry, field).map(usize::from));
    let [name, extra, comment] = [lengths[0]?, lengths[1]?, lengths[2]?];
    let found = Entry {
        name: entry.get(46..46 + name)?,
        method: u16_at(entry, 10)?,
        crc: u32_at(entry, 16)?,
        packed: u32_at(entry, 20)? as usize,
        header: u32_at(entry, 42)? as usize,
    };
    Some((found, 46 + name + extra + comment))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    /// An archive of these files, each packed or not.
    pub(crate) fn archive(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut bytes, mut contents) = (Vec::new(), Vec::new());
        for (name, content, pack) in files {
            let mut packed = content.to_vec();
            if *pack {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                packed = encoder.finish().unwrap();
            }
            let mut crc = flate2::Crc::new();
            crc.update(content);
            let mut common = vec![20, 0, 0, 0, if *pack { 8 } else { 0 }, 0, 0, 0, 0, 0];
            common.extend(crc.sum().to_le_bytes());
            common.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
            common.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
            common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
            let offset = u32::try_from(bytes.len()).unwrap();
            bytes.extend(b"PK\x03\x04");
            bytes.extend(&common);
            // An extra field here that the table of contents does not have.
            bytes.extend([3, 0]);
            bytes.extend(name.bytes());
            bytes.extend([1, 2, 3]);
            bytes.extend(packed);
            contents.extend(b"PK\x01\x02\x14\x00");
            contents.extend(&common);
            contents.extend([0; 12]);
            contents.extend(offset.to_le_bytes());
            contents.extend(name.bytes());
        }
        let (start, count) = (bytes.len(), u16::try_from(files.len()).unwrap().to_le_bytes());
        bytes.extend(&contents);
        bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
        bytes.extend(count);
        bytes.extend(count);
        bytes.extend(u32::try_from(contents.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(start).unwrap().to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn a_file_is_found_packed_or_not() {
        let long = "one and the same ".repeat(100);
        let archive = archive(&[("a/b.txt", b"stored", false), ("c.txt", long.as_bytes(), true)]);
        assert_eq!(member(&archive, "a/b.txt").unwrap(), b"stored");
        assert_eq!(member(&archive, "c.txt").unwrap(), long.as_bytes());
        assert_eq!(member(&archive, "b.txt").unwrap_err(), "the archive has no b.txt");
    }

    #[test]
    fn what_is_damaged_or_no_archive_is_told() {
        let mut archive = archive(&[("a.txt", b"stored", false)]);
        let at = archive.windows(6).position(|window| window == b"stored").unwrap();
        archive[at] = b'S';
        assert_eq!(member(&archive, "a.txt").unwrap_err(), "a.txt is damaged in the archive");
        assert_eq!(member(b"Not a zip", "a.txt").unwrap_err(), "it is no zip archive");
        assert_eq!(member(b"PK\x05\x06", "a.txt").unwrap_err(), "it is no zip archive");
    }
}
