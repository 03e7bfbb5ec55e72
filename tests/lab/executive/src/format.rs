//! printf-style formatting for the kernel's printing routines, over x64 Windows arguments (one 8-byte slot each).

use lab_nt::UNICODE_STRING;

use crate::Lab;

/// The longest string followed through a `%s`.
const LONGEST: usize = 4096;

/// Arguments, taken one by one.
pub(crate) enum Arguments<'a> {
    /// Named slots.
    Slots(std::slice::Iter<'a, u64>),
    /// A va_list: consecutive slots in memory.
    List(*const u64),
}

impl<'a> Arguments<'a> {
    pub(crate) fn slots(slots: &'a [u64]) -> Self {
        Self::Slots(slots.iter())
    }

    pub(crate) fn list(list: *const u64) -> Self {
        Self::List(list)
    }

    /// # Safety
    /// A list has another slot.
    unsafe fn next(&mut self) -> Option<u64> {
        match self {
            Self::Slots(slots) => slots.next().copied(),
            Self::List(list) => {
                // SAFETY: by this function's contract.
                let value = unsafe { list.read_unaligned() };
                *list = list.wrapping_add(1);
                Some(value)
            }
        }
    }
}

/// A terminated string of bytes.
///
/// # Safety
/// `string` is null or terminated.
pub(crate) unsafe fn narrow(string: *const u8) -> String {
    if string.is_null() {
        return "(null)".into();
    }
    // SAFETY: by this function's contract.
    let bytes = (0..LONGEST).map(|i| unsafe { string.wrapping_add(i).read() }).take_while(|b| *b != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// A terminated string of UTF-16 units.
///
/// # Safety
/// `string` is null or terminated.
pub(crate) unsafe fn wide(string: *const u16) -> String {
    if string.is_null() {
        return "(null)".into();
    }
    // SAFETY: by this function's contract.
    let units =
        (0..LONGEST).map(|i| unsafe { string.wrapping_add(i).read_unaligned() }).take_while(|u| *u != 0);
    String::from_utf16_lossy(&units.collect::<Vec<_>>())
}

/// Formats with a narrow template: `%s` is narrow, `%S` and `%ws` are wide.
///
/// # Safety
/// The arguments fit the template.
pub(crate) unsafe fn format(lab: &Lab, template: &str, arguments: &mut Arguments<'_>) -> String {
    // SAFETY: same contract.
    unsafe { run(lab, template, arguments, false) }
}

/// Formats with a wide template: `%s` is wide, `%S` is narrow.
///
/// # Safety
/// The arguments fit the template.
pub(crate) unsafe fn format_wide(lab: &Lab, template: &str, arguments: &mut Arguments<'_>) -> String {
    // SAFETY: same contract.
    unsafe { run(lab, template, arguments, true) }
}

#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    wide: Option<bool>,
    bits: u32,
}

unsafe fn run(lab: &Lab, template: &str, arguments: &mut Arguments<'_>, wide_template: bool) -> String {
    let mut out = String::new();
    let mut rest = template.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec { bits: 32, ..Spec::default() };
        while let Some(flag) = rest.next_if(|c| "-0#+ ".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                _ => {}
            }
        }
        // SAFETY: a `*` takes an argument, which the template says is there.
        let mut number = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| unsafe {
            if rest.next_if_eq(&'*').is_some() {
                return arguments.next().unwrap_or(0) as usize & 0xFFFF;
            }
            let mut value = 0usize;
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                value = (value * 10 + digit as usize - '0' as usize).min(0xFFFF);
            }
            value
        };
        spec.width = number(&mut rest);
        if rest.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut rest));
        }
        while let Some(size) = rest.next_if(|c| "hlwIzjt".contains(*c)) {
            match size {
                'w' => spec.wide = Some(true),
                'h' => spec.wide = Some(false),
                'l' => {
                    spec.wide = Some(true);
                    if rest.next_if_eq(&'l').is_some() {
                        spec.bits = 64;
                    }
                }
                'I' => {
                    spec.bits = 64;
                    if rest.next_if_eq(&'3').is_some() {
                        rest.next();
                        spec.bits = 32;
                    } else if rest.next_if_eq(&'6').is_some() {
                        rest.next();
                    }
                }
                _ => spec.bits = 64,
            }
        }
        let Some(conversion) = rest.next() else { break };
        if conversion == '%' {
            out.push('%');
            continue;
        }
        // SAFETY: the template says that there is an argument.
        let Some(value) = (unsafe { arguments.next() }) else {
            out.push_str("<more arguments than the lab names>");
            continue;
        };
        // SAFETY: the template says what the argument is.
        let text = unsafe { convert(lab, conversion, value, &spec, wide_template) };
        pad(&mut out, &text, &spec, "diuxXp".contains(conversion));
    }
    out
}

unsafe fn convert(lab: &Lab, conversion: char, value: u64, spec: &Spec, wide_template: bool) -> String {
    let unsigned = if spec.bits == 64 { value } else { u64::from(value as u32) };
    let signed = if spec.bits == 64 { value as i64 } else { i64::from(value as i32) };
    let text = match conversion {
        'd' | 'i' => return signed.to_string(),
        'u' => return unsigned.to_string(),
        'x' if spec.alternate => return format!("{unsigned:#x}"),
        'x' => return format!("{unsigned:x}"),
        'X' => return format!("{unsigned:X}"),
        'p' => return format!("{value:016X}"),
        'c' | 'C' => char::from_u32(value as u32 & 0xFFFF).unwrap_or('?').to_string(),
        's' | 'S' => {
            let is_wide = spec.wide.unwrap_or((conversion == 'S') != wide_template);
            // SAFETY: the template says that the argument is such a string.
            if is_wide { unsafe { wide(value as *const u16) } } else { unsafe { narrow(value as *const u8) } }
        }
        // SAFETY: %wZ takes a UNICODE_STRING.
        'Z' if spec.wide == Some(true) => unsafe {
            crate::imports::raw::text(lab, value as *const UNICODE_STRING)
        },
        other => return format!("<%{other} is not formatted>"),
    };
    match spec.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

fn pad(out: &mut String, text: &str, spec: &Spec, number: bool) {
    let missing = spec.width.saturating_sub(text.chars().count());
    if spec.left {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if spec.zero && number {
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        out.push_str(sign);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(digits);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(text);
    }
}
