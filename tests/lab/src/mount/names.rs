//! Names: UTF-8 on the Linux side, UTF-16 on the volume.
//!
//! Characters that a Windows name cannot have (`:` would start a stream name, `\` a component) travel as
//! private-use characters U+F000 + c, the mapping that Windows' own Unix subsystems use. So a program may
//! call its file `a:b`, and gets that name back.

/// Why a Linux name has no form on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Not UTF-8.
    NotUnicode,
    /// More than 255 UTF-16 units.
    TooLong,
}

const PRIVATE: u32 = 0xF000;
const LONGEST: usize = 255;

fn forbidden(c: char) -> bool {
    matches!(c, '"' | '*' | ':' | '<' | '>' | '?' | '\\' | '|') || (1..32).contains(&(c as u32))
}

/// The volume's form of one path component.
///
/// # Errors
/// See [`BadName`].
pub fn to_volume(name: &[u8]) -> Result<String, BadName> {
    let text = std::str::from_utf8(name).map_err(|_| BadName::NotUnicode)?;
    // Windows drops trailing dots and spaces from a Win32 path; NTFS itself keeps them, and so do we.
    let mapped = text.chars().map(|c| match c {
        c if forbidden(c) => char::from_u32(PRIVATE + c as u32).unwrap_or(c),
        c => c,
    });
    let name: String = mapped.collect();
    if name.encode_utf16().count() > LONGEST { Err(BadName::TooLong) } else { Ok(name) }
}

/// The Linux form of one component of the volume.
pub fn to_linux(name: &str) -> String {
    let unmapped = |c: char| match char::from_u32((c as u32).wrapping_sub(PRIVATE)) {
        Some(plain) if forbidden(plain) => plain,
        _ => c,
    };
    name.chars().map(unmapped).collect()
}

/// The image path of the lab process that mirrors a Linux process running `executable`: the last component
/// decides, so that a policy's `Processes` pattern `sort` or `sort.exe` matches `/usr/bin/sort`.
///
/// `/usr/bin/sort` becomes `\Device\HarddiskVolume1\Programs\sort.exe`: the form that
/// `SeLocateProcessImageName` gives a driver.
pub fn image_path(executable: &str) -> String {
    // The kernel appends this to the link of an executable that was replaced while it ran.
    let executable = executable.strip_suffix(" (deleted)").unwrap_or(executable);
    let file = executable.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
    let file = to_volume(file.as_bytes()).unwrap_or_else(|_| "unknown".into());
    format!("\\Device\\HarddiskVolume1\\Programs\\{file}.exe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went() {
        for name in
            ["report.txt", "Übersicht – Q3.ods", "a:b", "what?", "back\\slash", "tab\there", "𝄞.mid", "dot."]
        {
            assert_eq!(to_linux(&to_volume(name.as_bytes()).unwrap()), name);
        }
    }

    #[test]
    fn a_colon_does_not_name_a_stream() {
        assert_eq!(to_volume(b"a:b").unwrap(), "a\u{F03A}b");
    }

    #[test]
    fn bytes_that_are_not_unicode_have_no_name_here() {
        assert_eq!(to_volume(b"caf\xE9"), Err(BadName::NotUnicode));
    }

    #[test]
    fn the_limit_counts_utf16_units() {
        assert_eq!(to_volume("𝄞".repeat(128).as_bytes()), Err(BadName::TooLong));
        assert!(to_volume("é".repeat(255).as_bytes()).is_ok());
    }

    #[test]
    fn a_program_is_known_by_its_file_name() {
        assert_eq!(image_path("/usr/bin/sort"), "\\Device\\HarddiskVolume1\\Programs\\sort.exe");
        assert_eq!(image_path("/usr/bin/tar (deleted)"), "\\Device\\HarddiskVolume1\\Programs\\tar.exe");
        assert_eq!(image_path(""), "\\Device\\HarddiskVolume1\\Programs\\unknown.exe");
    }
}
