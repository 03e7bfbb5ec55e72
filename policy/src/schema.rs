//! The one definition of what a policy key may hold.
//!
//! Everything else that knows a value (the reader, error texts, documentation, templates, samples) takes it from
//! [`Value::ALL`] or is tested against it.

/// Registry value types, as `ZwQueryValueKey` reports them.
pub mod kind {
    /// Text.
    pub const SZ: u32 = 1;
    /// Text with environment variables; refused, because a driver has no environment.
    pub const EXPAND_SZ: u32 = 2;
    /// Bytes.
    pub const BINARY: u32 = 3;
    /// A number of 32 bits.
    pub const DWORD: u32 = 4;
    /// A list of texts.
    pub const MULTI_SZ: u32 = 7;
    /// A number of 64 bits.
    pub const QWORD: u32 = 11;

    /// The name of a type as Regedit shows it.
    pub fn name(kind: u32) -> &'static str {
        match kind {
            0 => "REG_NONE",
            SZ => "REG_SZ",
            EXPAND_SZ => "REG_EXPAND_SZ",
            BINARY => "REG_BINARY",
            DWORD => "REG_DWORD",
            5 => "REG_DWORD_BIG_ENDIAN",
            6 => "REG_LINK",
            MULTI_SZ => "REG_MULTI_SZ",
            QWORD => "REG_QWORD",
            _ => "an unknown type",
        }
    }
}

/// The schema version that this code reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Every value of a policy key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`meaning` documents each, for administrators and programmers alike")]
pub enum Value {
    Enabled,
    Version,
    Paths,
    ExcludePaths,
    Processes,
    ExcludeProcesses,
    Scope,
    IncludeChildren,
    OnExit,
    OnFlush,
    OnUnavailable,
    SettleMilliseconds,
    MaxSeconds,
    MaxMegabytes,
    MaxIdleSeconds,
    AuditOnly,
    Order,
}

/// What a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `REG_MULTI_SZ` of patterns.
    Patterns,
    /// `REG_SZ`, one of these words, without regard to case. The first is the default.
    Word(&'static [&'static str]),
    /// `REG_DWORD`.
    Number {
        /// When the value is absent.
        default: u32,
        /// Largest value accepted.
        max: u32,
    },
}

/// One row of the schema.
#[derive(Clone, Copy, Debug)]
pub struct ValueSchema {
    /// Which value.
    pub value: Value,
    /// Its name in the registry.
    pub name: &'static str,
    /// In the policy key itself instead of in a rule's subkey.
    pub at_root: bool,
    /// What it holds.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

impl Value {
    /// Every value, root values first, in the order of documentation.
    pub const ALL: &'static [ValueSchema] = SCHEMA;

    /// The row that describes this value.
    pub fn schema(self) -> &'static ValueSchema {
        const UNLISTED: ValueSchema = ValueSchema {
            value: Value::Version,
            name: "",
            at_root: true,
            kind: Kind::Number { default: 0, max: 0 },
            meaning: "",
        };
        SCHEMA.iter().find(|row| row.value == self).unwrap_or(&UNLISTED)
    }

    /// Its name in the registry.
    pub fn name(self) -> &'static str {
        self.schema().name
    }

    /// The value with this name at the root (`at_root`) or in a rule.
    pub(crate) fn find(name: &[u16], at_root: bool) -> Option<Value> {
        SCHEMA
            .iter()
            .find(|row| row.at_root == at_root && crate::text::is_ascii_word(name, row.name))
            .map(|row| row.value)
    }
}

const fn root(
    value: Value,
    name: &'static str,
    default: u32,
    max: u32,
    meaning: &'static str,
) -> ValueSchema {
    ValueSchema { value, name, at_root: true, kind: Kind::Number { default, max }, meaning }
}

const fn rule(value: Value, name: &'static str, kind: Kind, meaning: &'static str) -> ValueSchema {
    ValueSchema { value, name, at_root: false, kind, meaning }
}

const fn number(default: u32) -> Kind {
    Kind::Number { default, max: u32::MAX }
}

#[rustfmt::skip]
const SCHEMA: &[ValueSchema] = &[
    root(Value::Enabled, "Enabled", 1, 1, "0 switches Intact off: every save passes through untouched"),
    root(Value::Version, "Version", SCHEMA_VERSION, SCHEMA_VERSION, "version of this schema that the values were written for"),
    rule(Value::Paths, "Paths", Kind::Patterns, "files that the rule is about"),
    rule(Value::ExcludePaths, "ExcludePaths", Kind::Patterns, "files taken out of Paths again"),
    rule(Value::Processes, "Processes", Kind::Patterns, "programs that the rule is about, by image name or path; none: all programs"),
    rule(Value::ExcludeProcesses, "ExcludeProcesses", Kind::Patterns, "programs taken out of Processes again"),
    rule(Value::Scope, "Scope", Kind::Word(&["Handle", "Process", "Coordinated"]), "what one save is: one open, everything a process saves under the rule, or what a coordinator decides"),
    rule(Value::IncludeChildren, "IncludeChildren", Kind::Number { default: 0, max: 1 }, "1: with Scope = Process, the processes that a program of the rule starts, and those that they start, count as that program"),
    rule(Value::OnExit, "OnExit", Kind::Word(&["ByStatus", "Commit", "Rollback"]), "what becomes of a save whose handles the system closes at process exit; ByStatus: commit if the exit status is zero"),
    rule(Value::OnFlush, "OnFlush", Kind::Word(&["Checkpoint", "Defer"]), "Checkpoint: a flush commits what is there and the save goes on; Defer: it does not commit"),
    rule(Value::OnUnavailable, "OnUnavailable", Kind::Word(&["PassThrough", "Deny"]), "what becomes of an open that cannot have a transaction"),
    rule(Value::SettleMilliseconds, "SettleMilliseconds", number(2000), "how long a hollow or process save waits for more"),
    rule(Value::MaxSeconds, "MaxSeconds", number(0), "longest time one save may take before it is demoted; 0: no limit"),
    rule(Value::MaxMegabytes, "MaxMegabytes", number(0), "most data one save may write before it is demoted; 0: no limit"),
    rule(Value::MaxIdleSeconds, "MaxIdleSeconds", number(0), "longest time one save may be idle before it is demoted; 0: no limit"),
    rule(Value::AuditOnly, "AuditOnly", Kind::Number { default: 0, max: 1 }, "1: decide and report, change nothing"),
    rule(Value::Order, "Order", number(1000), "rules with a lower number are asked first; equal ones by name"),
];

/// Makes an enum whose words are those of the schema, in its order.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            #[default]
            $($(#[$word_doc])* $word),+
        }

        impl $name {
            /// Every choice, in the order of [`Kind::Word`].
            pub const ALL: &'static [$name] = &[$($name::$word),+];

            /// The word that stands for it in the registry.
            pub fn word(self) -> &'static str {
                match self { $($name::$word => stringify!($word)),+ }
            }

            pub(crate) fn from_index(index: u16) -> Self {
                Self::ALL.get(usize::from(index)).copied().unwrap_or_default()
            }
        }
    };
}

words! {
    /// What one save is.
    Scope {
        /// One open.
        Handle,
        /// Everything that a process saves under the rule.
        Process,
        /// A transaction that a user-mode coordinator decides.
        Coordinated
    }
}
words! {
    /// What becomes of a save whose handles the system closes at process exit.
    OnExit {
        /// Commit if the exit status is zero.
        ByStatus,
        /// Always commit.
        Commit,
        /// Always roll back.
        Rollback
    }
}
words! {
    /// What a successful flush by the program does.
    OnFlush {
        /// Commit, and go on in a new transaction.
        Checkpoint,
        /// Flush into the transaction only.
        Defer
    }
}
words! {
    /// What becomes of an open that cannot have a transaction.
    OnUnavailable {
        /// It goes on as without Intact.
        PassThrough,
        /// It fails.
        Deny
    }
}

/// How a rule's saves behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What one save is.
    pub scope: Scope,
    /// The processes that a program of the rule starts are one with it; only with [`Scope::Process`].
    pub include_children: bool,
    /// What process exit means.
    pub on_exit: OnExit,
    /// What a flush means.
    pub on_flush: OnFlush,
    /// What happens where no transaction can be had.
    pub on_unavailable: OnUnavailable,
    /// How long a hollow or process save waits for more, in milliseconds.
    pub settle_milliseconds: u32,
    /// Longest save, in seconds; 0: no limit.
    pub max_seconds: u32,
    /// Largest save, in MiB; 0: no limit.
    pub max_megabytes: u32,
    /// Longest idle time of a save, in seconds; 0: no limit.
    pub max_idle_seconds: u32,
    /// Decide and report, change nothing.
    pub audit_only: bool,
}
