//! The install sections of a primitive driver, with everything that they lead to.

use crate::inf::{Entry, Inf, Section};

/// Before which build the registry and the driver's directory are of the older kind (minifilter-rules §3.8).
pub(crate) const MODERN_BUILD: &str = ".10.0...25952";

/// One `[DefaultInstall…]` section.
#[derive(Clone, Copy)]
pub(crate) struct Install<'i> {
    pub(crate) inf: &'i Inf,
    pub(crate) section: &'i Section,
}

impl<'i> Install<'i> {
    /// What follows `DefaultInstall`: `.NTamd64.10.0...25952`.
    pub(crate) fn decoration(self) -> &'i str {
        &self.section.name["DefaultInstall".len()..]
    }

    /// For Windows 11 24H2 and later.
    pub(crate) fn is_modern(self) -> bool {
        self.decoration().ends_with(MODERN_BUILD)
    }

    pub(crate) fn services_name(self) -> String {
        format!("{}.Services", self.section.name)
    }

    pub(crate) fn add_service(self) -> Option<&'i Entry> {
        self.inf.section(&self.services_name())?.get("AddService")
    }

    /// The service-install section.
    pub(crate) fn service(self) -> Option<&'i Section> {
        self.inf.section(self.add_service()?.value(2))
    }

    /// The entries of the sections that the service's `AddReg` names.
    pub(crate) fn registry(self) -> Vec<Registry<'i>> {
        let add_reg = self.service().into_iter().flat_map(|service| service.all("AddReg"));
        let names = add_reg.flat_map(|entry| &entry.values);
        let sections = names.filter_map(|name| self.inf.section(name));
        sections.flat_map(|section| &section.entries).map(|entry| Registry { entry }).collect()
    }

    /// The names in `CopyFiles`, each with the line that it is on.
    pub(crate) fn copied(self) -> impl Iterator<Item = (&'i str, usize)> {
        self.section
            .all("CopyFiles")
            .flat_map(|entry| entry.values.iter().map(|name| (name.as_str(), entry.line)))
    }
}

/// One line of an add-registry section: root, subkey, name, flags, value.
#[derive(Clone, Copy)]
pub(crate) struct Registry<'i> {
    pub(crate) entry: &'i Entry,
}

impl<'i> Registry<'i> {
    pub(crate) fn root(self) -> &'i str {
        self.entry.value(0)
    }

    pub(crate) fn key(self) -> &'i str {
        self.entry.value(1)
    }

    pub(crate) fn is(self, name: &str) -> bool {
        self.entry.value(2).eq_ignore_ascii_case(name)
    }

    /// `FLG_ADDREG_TYPE_DWORD` with its value.
    pub(crate) fn dword(self) -> Option<u32> {
        (self.entry.number(3) == Some(0x0001_0001)).then(|| self.entry.number(4)).flatten()
    }

    /// `FLG_ADDREG_TYPE_SZ`, also by default, with its value.
    pub(crate) fn text(self) -> Option<&'i str> {
        (self.entry.value(3).is_empty() || self.entry.number(3) == Some(0)).then(|| self.entry.value(4))
    }
}

/// Every install section, those of services left out.
pub(crate) fn installs(inf: &Inf) -> impl Iterator<Item = Install<'_>> {
    inf.sections
        .iter()
        .filter(|section| {
            starts_with(&section.name, "DefaultInstall") && !ends_with(&section.name, ".Services")
        })
        .map(move |section| Install { inf, section })
}

pub(crate) fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

pub(crate) fn ends_with(text: &str, suffix: &str) -> bool {
    text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}
