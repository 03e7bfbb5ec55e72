//! `intact-faults`: the scenarios of saving on a real Windows machine, and the questions that only one can answer.

#[cfg(windows)]
mod windows;

#[cfg(windows)]
fn main() -> std::process::ExitCode {
    windows::main()
}

#[cfg(not(windows))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "intact-faults is a program for Windows: `cargo xtask windows` builds it. In the lab its scenarios are \
         tests: `cargo test -p intact-scenarios`"
    );
    std::process::ExitCode::from(intact_faults::report::IMPOSSIBLE)
}
