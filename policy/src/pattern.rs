//! From a pattern as an administrator writes it to the form that is matched: the NT device name of its volume, upcased
//! components, wildcards.

use crate::MAX_PATH_UNITS;
use crate::block::Writer;
use crate::compile::Volumes;
use crate::problem::Reason;
use crate::text::{
    BACKSLASH, COLON, QUESTION, STAR, Upcase, fold, is_ascii_word, split_last, split_once, starts_with_ascii,
};

/// What a compiled pattern is compared with.
pub(crate) mod flag {
    /// With the path including its stream; without this flag, with the file's name only.
    pub(crate) const STREAM: u16 = 1;
    /// With the last component only (image names).
    pub(crate) const NAME: u16 = 2;
    /// With nothing: its volume is not there.
    pub(crate) const INACTIVE: u16 = 4;
}

/// Room for the device name of a volume.
const DEVICE_UNITS: usize = 256;

/// What is wrong, and where: `at` counts units from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) at: Option<usize>,
}

impl Fault {
    fn at(reason: Reason, at: usize) -> Fault {
        Fault { reason, at: Some(at) }
    }

    pub(crate) fn whole(reason: Reason) -> Fault {
        Fault { reason, at: None }
    }
}

/// A pattern that was written out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed {
    pub(crate) flags: u16,
    pub(crate) warning: Option<Fault>,
    /// How many components it has once compiled, at most.
    pub(crate) components: usize,
    /// How many of them have wildcards.
    pub(crate) wild: usize,
}

/// Where the components of a pattern begin, and what stands before them once compiled.
enum Root<'t> {
    /// A symbolic link: its drive letter or volume GUID.
    Link(&'t [u16]),
    /// Nothing: the components begin with the device, or with `**`.
    Device,
}

/// Remembers the last volume asked for, because neighbours in a list are mostly on the same one.
pub(crate) struct LastVolume {
    link: [u16; LINK_UNITS],
    link_length: usize,
    device: [u16; DEVICE_UNITS],
    /// `None`: there is no such volume.
    device_length: Option<usize>,
}

/// `\??\Volume{8-4-4-4-12}`.
const LINK_UNITS: usize = 48;

impl LastVolume {
    pub(crate) const fn new() -> Self {
        LastVolume { link: [0; LINK_UNITS], link_length: 0, device: [0; DEVICE_UNITS], device_length: None }
    }

    fn device<V: Volumes + ?Sized>(&mut self, volumes: &mut V, name: &[u16]) -> Option<&[u16]> {
        let link = || r"\??\".bytes().map(u16::from).chain(name.iter().copied());
        if !self.link.iter().take(self.link_length).copied().eq(link()) {
            self.link_length = self.link.iter_mut().zip(link()).map(|(slot, unit)| *slot = unit).count();
            let asked = self.link.get(..self.link_length)?;
            self.device_length = volumes.device(asked, &mut self.device);
        }
        self.device.get(..self.device_length?)
    }
}

/// Compiles a pattern of files, or of programs (`programs`), to the end of `out`.
pub(crate) fn compile<U: Upcase + ?Sized, V: Volumes + ?Sized>(
    text: &[u16],
    programs: bool,
    upcase: &U,
    volumes: &mut V,
    last: &mut LastVolume,
    out: &mut Writer<'_>,
) -> Result<Parsed, Fault> {
    if text.len() > MAX_PATH_UNITS {
        return Err(Fault::at(Reason::TooLong, MAX_PATH_UNITS));
    }
    if programs && !text.iter().any(|&unit| unit == BACKSLASH || unit == COLON || unit == u16::from(b'/')) {
        let mut walk = Walk { upcase, out, flags: flag::NAME, warning: None, after_stars: false, wild: 0 };
        walk.component(text, 0, true)?;
        return Ok(Parsed { flags: walk.flags, warning: walk.warning, components: 1, wild: walk.wild });
    }
    let (root, body) = root(text)?;
    let first = text.len().saturating_sub(body.len());
    let mut flags = 0;
    let mut warning = None;
    let mut wild = 0;
    let mut components = body.iter().filter(|&&unit| unit == BACKSLASH).count().saturating_add(1);
    if let Root::Link(name) = root {
        match last.device(volumes, name) {
            Some(device) if starts_with_ascii(device, r"\Device\") && !is_remote(device) => {
                device.iter().for_each(|&unit| out.push(fold(upcase, unit)));
                components =
                    components.saturating_add(device.iter().filter(|&&unit| unit == BACKSLASH).count());
                // No device is named so; but nothing else keeps one from being.
                wild = device.iter().filter(|unit| matches!(**unit, STAR | QUESTION)).count();
            }
            Some(device) if is_remote(device) => {
                (flags, warning) = (flag::INACTIVE, Some(Fault::whole(Reason::RemoteVolume)));
            }
            Some(_) => (flags, warning) = (flag::INACTIVE, Some(Fault::whole(Reason::SubstitutedDrive))),
            None => (flags, warning) = (flag::INACTIVE, Some(Fault::whole(Reason::NoSuchVolume))),
        }
    }
    let mut walk = Walk { upcase, out, flags, warning, after_stars: false, wild };
    walk.components(body, first)?;
    Ok(Parsed { flags: walk.flags, warning: walk.warning, components, wild: walk.wild })
}

/// Splits a pattern into its root and the components after it (without the backslash before them).
fn root(text: &[u16]) -> Result<(Root<'_>, &[u16]), Fault> {
    if let Some(at) = text.iter().position(|&unit| unit == u16::from(b'/')) {
        return Err(Fault::at(Reason::Slash, at));
    }
    if starts_with_ascii(text, r"\??\") || starts_with_ascii(text, r"\\?\") {
        let (_, name) = text.split_at_checked(4).unwrap_or_default();
        if starts_with_ascii(name, r"UNC\") {
            return Err(Fault::whole(Reason::Unc));
        }
        let (volume, body) = split_once(name, BACKSLASH);
        if starts_with_ascii(volume, "Volume{") {
            if !is_volume_guid(volume) {
                return Err(Fault::at(Reason::VolumeGuid, 4));
            }
        } else if !is_drive(volume) {
            return Err(Fault::at(Reason::UnknownRoot, 4));
        }
        return linked(text, volume, body);
    }
    if starts_with_ascii(text, r"\\.\") {
        return Err(Fault::at(Reason::UnknownRoot, 0));
    }
    if starts_with_ascii(text, r"\\") {
        return Err(Fault::whole(Reason::Unc));
    }
    if starts_with_ascii(text, r"\Device\") {
        if is_remote(text) {
            return Err(Fault::whole(Reason::Unc));
        }
        let (_, device_and_body) = text.split_at_checked(8).unwrap_or_default();
        let (_, body) = split_once(device_and_body, BACKSLASH);
        if body.is_none_or(<[u16]>::is_empty) {
            return Err(Fault::at(Reason::WholeVolume, text.len()));
        }
        return Ok((Root::Device, text.get(1..).unwrap_or_default()));
    }
    let (first, body) = split_once(text, BACKSLASH);
    if matches!(first, [STAR, STAR]) {
        return Ok((Root::Device, text));
    }
    if is_drive(first) {
        return linked(text, first, body);
    }
    Err(match first {
        [letter, COLON, ..] if is_letter(*letter) => Fault::at(Reason::DriveRelative, 2),
        [percent, ..] if *percent == u16::from(b'%') => Fault::at(Reason::Environment, 0),
        [] => Fault::at(Reason::UnknownRoot, 0),
        _ => Fault::at(Reason::NoVolume, 0),
    })
}

fn linked<'t>(
    text: &[u16],
    volume: &'t [u16],
    body: Option<&'t [u16]>,
) -> Result<(Root<'t>, &'t [u16]), Fault> {
    match body {
        Some(body) if !body.is_empty() => Ok((Root::Link(volume), body)),
        _ => Err(Fault::at(Reason::WholeVolume, text.len())),
    }
}

fn is_letter(unit: u16) -> bool {
    u8::try_from(unit).is_ok_and(|byte| byte.is_ascii_alphabetic())
}

fn is_drive(name: &[u16]) -> bool {
    matches!(name, [letter, COLON] if is_letter(*letter))
}

/// `Volume{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}`.
fn is_volume_guid(name: &[u16]) -> bool {
    const SHAPE: &[u8] = b"Volume{________-____-____-____-____________}";
    name.len() == SHAPE.len()
        && name.iter().zip(SHAPE).all(|(&unit, &shape)| match (u8::try_from(unit), shape) {
            (Ok(byte), b'_') => byte.is_ascii_hexdigit(),
            (Ok(byte), shape) => byte.eq_ignore_ascii_case(&shape),
            (Err(_), _) => false,
        })
}

/// Devices of the network providers: `\Device\Mup` and what mounted drives of before Windows Vista's Mup name.
fn is_remote(path: &[u16]) -> bool {
    let (_, rest) = path.split_at_checked(8).unwrap_or_default();
    let (device, _) = split_once(rest, BACKSLASH);
    ["Mup", "LanmanRedirector", "WebDavRedirector", "NetWareRedirector"]
        .iter()
        .any(|name| is_ascii_word(device, name))
}

/// Writes components, checking each.
struct Walk<'w, 'b, U: ?Sized> {
    upcase: &'w U,
    out: &'w mut Writer<'b>,
    flags: u16,
    warning: Option<Fault>,
    /// The component before was `**`: another one adds nothing.
    after_stars: bool,
    /// Components with wildcards so far.
    wild: usize,
}

impl<U: Upcase + ?Sized> Walk<'_, '_, U> {
    /// `at`: where `body` begins in the pattern.
    fn components(&mut self, body: &[u16], mut at: usize) -> Result<(), Fault> {
        let mut rest = Some(body);
        while let Some(body) = rest {
            let (component, after) = split_once(body, BACKSLASH);
            if component.is_empty() {
                return Err(match after {
                    None => Fault::at(Reason::TrailingBackslash, at.saturating_sub(1)),
                    Some(_) => Fault::at(Reason::EmptyComponent, at),
                });
            }
            let stars = matches!(component, [STAR, STAR]);
            if !(stars && self.after_stars) {
                // A `**` at the end is no edge of its own.
                let is_wild = component.iter().any(|unit| matches!(*unit, STAR | QUESTION))
                    && !(stars && after.is_none());
                self.wild = self.wild.saturating_add(usize::from(is_wild));
                self.out.push(BACKSLASH);
                self.component(component, at, after.is_none())?;
            }
            self.after_stars = stars;
            at = at.saturating_add(component.len()).saturating_add(1);
            rest = after;
        }
        Ok(())
    }

    fn component(&mut self, component: &[u16], at: usize, is_last: bool) -> Result<(), Fault> {
        if let [STAR, STAR] = component {
            if self.flags & flag::NAME != 0 {
                return Err(Fault::at(Reason::StarsInName, at));
            }
            self.out.push(STAR);
            self.out.push(STAR);
            return Ok(());
        }
        if is_ascii_word(component, ".") || is_ascii_word(component, "..") {
            return Err(Fault::at(Reason::DotComponent, at));
        }
        for (offset, (&unit, next)) in
            component.iter().zip(component.iter().skip(1).map(Some).chain([None])).enumerate()
        {
            let at = at.saturating_add(offset);
            match unit {
                STAR if next == Some(&STAR) => return Err(Fault::at(Reason::StarsInside, at)),
                COLON if !is_last || self.flags & flag::NAME != 0 => {
                    return Err(Fault::at(Reason::ColonInside, at));
                }
                0..=0x1F | 0x22 | 0x3C | 0x3E | 0x7C => return Err(Fault::at(Reason::NotInNames, at)),
                _ => {}
            }
        }
        let (name, stream) = split_once(component, COLON);
        self.warn_about(name, at);
        let stream = match stream {
            Some(stream) => {
                Some(stream_name(stream).filter(|_| !name.is_empty()).ok_or(Fault::at(Reason::Stream, at))?)
            }
            None => None,
        };
        name.iter().for_each(|&unit| self.out.push(fold(self.upcase, unit)));
        if let Some(stream) = stream {
            self.flags |= flag::STREAM;
            self.out.push(COLON);
            stream.iter().for_each(|&unit| self.out.push(fold(self.upcase, unit)));
        }
        Ok(())
    }

    /// What is allowed but rarely meant.
    fn warn_about(&mut self, name: &[u16], at: usize) {
        let end = at.saturating_add(name.len().saturating_sub(1));
        let warning = match name {
            [.., last] if *last == u16::from(b'.') || *last == u16::from(b' ') => {
                Fault::at(Reason::TrailingDot, end)
            }
            [STAR, dot, STAR] if *dot == u16::from(b'.') => Fault::at(Reason::StarDotStar, at),
            [before @ .., tilde, digit]
                if *tilde == u16::from(b'~')
                    && (0x30..=0x39).contains(digit)
                    && !before.is_empty()
                    && before.len() <= 6
                    && !before.contains(&STAR)
                    && !before.contains(&QUESTION) =>
            {
                Fault::at(Reason::ShortName, at)
            }
            _ => return,
        };
        self.warning.get_or_insert(warning);
    }
}

/// The name in `stream` or `stream:$DATA`.
fn stream_name(stream: &[u16]) -> Option<&[u16]> {
    let (name, kind) = split_once(stream, COLON);
    (!name.is_empty() && kind.is_none_or(|kind| is_ascii_word(kind, "$DATA"))).then_some(name)
}

/// A normalized path, parted for matching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'p> {
    /// Without its stream.
    pub(crate) file: &'p [u16],
    /// With its stream, without the stream's type; `None` for the unnamed stream.
    pub(crate) with_stream: Option<&'p [u16]>,
}

impl<'p> Subject<'p> {
    pub(crate) fn new(path: &'p [u16]) -> Self {
        let (parent, name) = split_last(path, BACKSLASH);
        let (file_name, stream) = split_once(name, COLON);
        let file_end = parent.len().saturating_add(file_name.len());
        let file = path.get(..file_end).unwrap_or(path);
        let with_stream = stream.and_then(|stream| {
            let (stream, _) = split_once(stream, COLON);
            let end = file_end.saturating_add(1).saturating_add(stream.len());
            if stream.is_empty() { None } else { path.get(..end) }
        });
        Subject { file, with_stream }
    }

    /// The last component.
    pub(crate) fn name(&self) -> &'p [u16] {
        split_last(self.file, BACKSLASH).1
    }
}
