//! The programs and files that a build or a test needs: found, installed where that can be done, or named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{self, Step};
use crate::toolchain;

/// Versions of LLVM whose programs are looked for, the preferred first; without a number last.
const LLVM: &[&str] = &["-19", "-21", "-20", "-18", "-17", "-16", ""];

/// Proof that what was asked for is there.
#[derive(Clone, Copy)]
pub(crate) struct Tools;

/// One thing that must be there.
struct Need {
    what: &'static str,
    packages: &'static [&'static str],
    /// How to get it where there is no Debian.
    otherwise: &'static str,
    found: fn() -> bool,
}

/// What a command is about to do, and so what it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum For {
    /// Generating the bindings.
    Bindings,
    /// Building the driver.
    Driver,
    /// `cargo fmt`.
    Format,
    /// `cargo clippy` for the host.
    HostClippy,
    /// Mounting a lab volume.
    Mount,
    /// `clippy` on the driver.
    Clippy,
    /// Tests under AddressSanitizer.
    Sanitizer,
    /// The comparison of layouts.
    Layout,
    /// Loading the driver with Wine.
    Wine,
    /// Building a program for Windows.
    Program,
}

fn needs(purpose: For) -> &'static [Need] {
    match purpose {
        For::Bindings => &[
            Need {
                what: "the DDK headers of mingw-w64 (ddk/ntifs.h)",
                packages: &["mingw-w64-x86-64-dev"],
                otherwise: "install your system's mingw-w64 headers for x86_64",
                found: || ddk_headers().is_some(),
            },
            Need {
                what: "libclang",
                packages: &["libclang1-19", "libclang-common-19-dev"],
                otherwise: "install libclang 16 or later, or set LIBCLANG_PATH",
                found: || libclang().is_some() && clang_resource_dir().is_some(),
            },
            Need {
                what: "llvm-dlltool",
                packages: &["llvm-19"],
                otherwise: "install LLVM's binary utilities",
                found: || llvm_program("llvm-dlltool").is_some(),
            },
        ],
        For::Driver => &[
            Need {
                what: "a Rust compiler with the library of x86_64-pc-windows-msvc",
                packages: &["rustc-web", "rust-web-src", "libstd-rust-web-dev"],
                otherwise: "rustup target add x86_64-pc-windows-msvc",
                found: || toolchain::find().is_some(),
            },
            Need {
                what: "lld-link",
                packages: &["lld-19"],
                otherwise: "install LLVM's linker lld",
                found: || llvm_program("lld-link").is_some(),
            },
        ],
        For::Format => &[Need {
            what: "rustfmt",
            packages: &["rustfmt-web"],
            otherwise: "rustup component add rustfmt",
            found: || toolchain::component("fmt"),
        }],
        For::HostClippy => &[Need {
            what: "clippy",
            packages: &["rust-web-clippy"],
            otherwise: "rustup component add clippy",
            found: || toolchain::component("clippy"),
        }],
        For::Mount => &[Need {
            what: "fusermount3",
            packages: &["fuse3"],
            otherwise: "install FUSE 3",
            found: || on_path("fusermount3").is_some(),
        }],
        For::Clippy => &[Need {
            what: "clippy for the driver's compiler",
            packages: &["rust-web-clippy"],
            otherwise: "rustup component add clippy",
            found: || toolchain::find().is_some_and(|toolchain| toolchain.clippy().is_some()),
        }],
        For::Sanitizer => &[Need {
            what: "the AddressSanitizer runtime",
            packages: &["clang-19", "libclang-rt-19-dev"],
            otherwise: "install clang with compiler-rt",
            found: || toolchain::has_sanitizer() || asan_clang().is_some(),
        }],
        For::Layout => &[
            Need {
                what: "Wine's development headers (ddk/fltkernel.h)",
                packages: &["libwine-dev"],
                otherwise: "install Wine's development headers",
                found: || wine_headers().is_some(),
            },
            Need {
                what: "clang",
                packages: &["clang-19"],
                otherwise: "install clang",
                found: || llvm_program("clang").is_some(),
            },
        ],
        For::Wine => &[Need {
            what: "Wine for 64-bit programs",
            packages: &["wine64"],
            otherwise: "install Wine",
            found: || wine().is_some(),
        }],
        For::Program => &[
            Need {
                what: "a Rust compiler with the library of x86_64-pc-windows-gnu",
                packages: &["rustc-web", "rust-web-src", "libstd-rust-web-dev"],
                otherwise: "rustup target add x86_64-pc-windows-gnu",
                found: || toolchain::find_for(toolchain::PROGRAM_TARGET).is_some(),
            },
            Need {
                what: "the C compiler of mingw-w64, which links programs for Windows",
                packages: &["gcc-mingw-w64-x86-64-win32"],
                otherwise: "install your system's mingw-w64 compiler for x86_64",
                found: || mingw_gcc().is_some(),
            },
        ],
    }
}

impl Tools {
    /// Makes sure that everything for these purposes is there: installs it on Debian as root, or says what
    /// is missing and how to get it.
    pub(crate) fn ensure(purposes: &[For]) -> Result<Self> {
        let mut missing: Vec<&Need> = Vec::new();
        for need in purposes.iter().flat_map(|purpose| needs(*purpose)) {
            if missing.iter().all(|known| known.what != need.what) && !(need.found)() {
                missing.push(need);
            }
        }
        if missing.is_empty() {
            return Ok(Self);
        }
        let packages: BTreeSet<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
        let packages: Vec<&str> = packages.into_iter().collect();
        if debian() && root() {
            install(&packages)?;
            if let Some(still) = missing.iter().find(|need| !(need.found)()) {
                bail!("installed {}, but {} was not found then", packages.join(" "), still.what);
            }
            return Ok(Self);
        }
        let mut message = String::from("missing on this machine:\n");
        for need in &missing {
            message.push_str(&format!("  - {}\n", need.what));
            if !debian() {
                message.push_str(&format!("      {}\n", need.otherwise));
            }
        }
        if debian() {
            message.push_str(&format!(
                "as root:\n  apt-get install --no-install-recommends {}\nor, for the compiler, with rustup:\n  \
                 rustup target add x86_64-pc-windows-msvc",
                packages.join(" ")
            ));
        }
        bail!(message)
    }

    /// Whether everything for this purpose is there, or can be installed by [`Self::ensure`].
    pub(crate) fn obtainable(purpose: For) -> bool {
        (debian() && root()) || needs(purpose).iter().all(|need| (need.found)())
    }

    pub(crate) fn ddk_headers(&self) -> Result<PathBuf> {
        ddk_headers().context("no DDK headers of mingw-w64 found")
    }

    pub(crate) fn libclang(&self) -> Option<PathBuf> {
        libclang()
    }

    pub(crate) fn clang_resource_dir(&self) -> Option<PathBuf> {
        clang_resource_dir()
    }

    pub(crate) fn dlltool(&self) -> Result<PathBuf> {
        llvm_program("llvm-dlltool").context("no llvm-dlltool found")
    }

    pub(crate) fn lld_link(&self) -> Result<PathBuf> {
        llvm_program("lld-link").context("no lld-link found")
    }

    pub(crate) fn clang(&self) -> Result<PathBuf> {
        llvm_program("clang").context("no clang found")
    }

    pub(crate) fn asan_clang(&self) -> Result<PathBuf> {
        asan_clang().context("no clang with the AddressSanitizer runtime found")
    }

    pub(crate) fn wine_headers(&self) -> Result<PathBuf> {
        wine_headers().context("no development headers of Wine found")
    }

    pub(crate) fn mingw_gcc(&self) -> Result<PathBuf> {
        mingw_gcc().context("no mingw-w64 compiler found")
    }

    pub(crate) fn wine(&self) -> Result<PathBuf> {
        wine().context("no Wine found")
    }
}

/// Installs Debian packages, and says so.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    eprintln!("installing {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        run::quiet(
            Command::new("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                // Somebody else's apt run is waited for.
                .args(["-q", "-y", "-o", "DPkg::Lock::Timeout=300"])
                .args(arguments),
        )
    };
    let step = Step::start("apt-get update");
    apt(&["update"])?;
    step.done();
    let step = Step::start("apt-get install");
    let mut arguments = vec!["install", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)?;
    step.done();
    Ok(())
}

pub(crate) fn debian() -> bool {
    Path::new("/etc/debian_version").exists() && on_path("apt-get").is_some()
}

pub(crate) fn root() -> bool {
    // Without a crate for one system call: the kernel says who owns this process.
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0\t")))
}

/// A program by its name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let name = if cfg!(windows) { format!("{name}.exe") } else { name.to_owned() };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(&name)).find(|path| path.is_file())
}

fn llvm_program(name: &str) -> Option<PathBuf> {
    LLVM.iter().find_map(|version| on_path(&format!("{name}{version}")))
}

fn ddk_headers() -> Option<PathBuf> {
    ["/usr/x86_64-w64-mingw32/include", "/usr/x86_64-w64-mingw32/sys-root/mingw/include"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.join("ddk/ntifs.h").is_file())
}

fn wine_headers() -> Option<PathBuf> {
    ["/usr/include/wine/wine/windows", "/usr/include/wine/windows"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.join("ddk/fltkernel.h").is_file())
}

fn mingw_gcc() -> Option<PathBuf> {
    on_path("x86_64-w64-mingw32-gcc")
}

fn wine() -> Option<PathBuf> {
    ["wine64", "wine"]
        .iter()
        .find_map(|name| on_path(name))
        .or_else(|| Some(PathBuf::from("/usr/lib/wine/wine64")).filter(|path| path.is_file()))
}

/// The folder of libclang.
fn libclang() -> Option<PathBuf> {
    if let Some(set) = std::env::var_os("LIBCLANG_PATH") {
        return Some(set.into());
    }
    LLVM.iter().map(|version| PathBuf::from(format!("/usr/lib/llvm{version}/lib"))).find(|dir| {
        fs::read_dir(dir).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("libclang.so") || name.starts_with("libclang-")
            })
        })
    })
}

/// Clang's own headers (`stddef.h` and others), which libclang does not carry inside.
fn clang_resource_dir() -> Option<PathBuf> {
    let library = libclang()?;
    let mut versions: Vec<PathBuf> = fs::read_dir(library.join("clang"))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("include/stddef.h").is_file())
        .collect();
    versions.sort();
    versions.pop()
}

/// A clang that brings the AddressSanitizer runtime.
fn asan_clang() -> Option<PathBuf> {
    let clang = llvm_program("clang")?;
    let resources = Command::new(&clang).arg("--print-resource-dir").output().ok()?;
    let resources = PathBuf::from(String::from_utf8_lossy(&resources.stdout).trim());
    fs::read_dir(resources.join("lib"))
        .ok()?
        .flatten()
        .filter_map(|folder| fs::read_dir(folder.path()).ok())
        .flatten()
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("libclang_rt.asan"))
        .then_some(clang)
}
