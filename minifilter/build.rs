//! On Windows, the WDK's own build crate finds the WDK and gives the linker what a driver needs. On other hosts
//! `cargo xtask build` does, and there is nothing to do here.

#[cfg(windows)]
fn main() -> Result<(), wdk_build::ConfigError> {
    wdk_build::configure_wdk_binary_build()
}

#[cfg(not(windows))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
