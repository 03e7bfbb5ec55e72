//! The volumes of the machine that a policy is checked for.

use intact_policy::Volumes;

/// Devices behind drive letters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    given: Vec<(char, String)>,
}

impl Machine {
    /// Adds `X:=\Device\…`.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        let parts =
            text.split_once(":=").and_then(|(letter, device)| Some((letter.parse::<char>().ok()?, device)));
        match parts {
            Some((letter, device)) if letter.is_ascii_alphabetic() && device.starts_with(r"\Device\") => {
                self.given.push((letter.to_ascii_uppercase(), device.trim_end_matches('\\').to_owned()));
                Ok(())
            }
            _ => Err(format!(r"'{text}' is no volume: write X:=\Device\Name")),
        }
    }

    /// The device behind `\??\X:` or `\??\Volume{…}`.
    fn find(&self, link: &str) -> Option<String> {
        let name = link.strip_prefix(r"\??\")?;
        match name.strip_suffix(':').and_then(|letter| letter.parse::<char>().ok()) {
            Some(letter) if !self.given.is_empty() => {
                let known = self.given.iter().find(|(given, _)| *given == letter.to_ascii_uppercase());
                known.map(|(_, device)| device.clone())
            }
            Some(letter) => Some(format!(r"\Device\Drive{}", letter.to_ascii_uppercase())),
            None => self.given.is_empty().then(|| format!(r"\Device\{}", name.to_uppercase())),
        }
    }

    /// A path or image as NT names it.
    pub(crate) fn nt_name(&self, path: &str) -> Result<Vec<u16>, String> {
        let bare = [r"\??\", r"\\?\"].iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
        let nt_name = if bare.starts_with(r"\Device\") {
            bare.to_owned()
        } else {
            let (volume, rest) =
                bare.split_once('\\').ok_or_else(|| format!(r"'{path}' is no full path: write C:\..."))?;
            let is_volume = volume.starts_with("Volume{") || volume.len() == 2 && volume.ends_with(':');
            let device = self.find(&format!(r"\??\{volume}")).filter(|_| is_volume);
            let device = device.ok_or_else(|| format!("'{volume}' is no volume of this machine"))?;
            format!(r"{device}\{rest}")
        };
        Ok(nt_name.encode_utf16().collect())
    }
}

impl Volumes for Machine {
    fn device(&mut self, link: &[u16], device: &mut [u16]) -> Option<usize> {
        let target: Vec<u16> = self.find(&String::from_utf16(link).ok()?)?.encode_utf16().collect();
        device.get_mut(..target.len())?.copy_from_slice(&target);
        Some(target.len())
    }
}
