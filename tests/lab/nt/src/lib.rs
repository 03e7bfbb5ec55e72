//! Windows structures for the lab, generated from the same headers as the driver's.
//!
//! The C types have Windows widths (`long` is 32 bits) and function pointers have the Windows ABI
//! (`extern "win64"`), so a structure here is, byte for byte, the one that a driver built for Windows uses.
//! `cargo xtask setup` makes the file that is included here, and asserts at compile time that each structure
//! has the size and the offsets that the C compiler gave it; `layout` adds what Windows itself is
//! known to have.

#![no_std]
#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn, unnecessary_transmutes)]

/// C's types as a 64-bit Windows compiler has them.
pub mod ctypes {
    pub use core::ffi::c_void;
    pub type c_char = i8;
    pub type c_schar = i8;
    pub type c_uchar = u8;
    pub type c_short = i16;
    pub type c_ushort = u16;
    pub type c_int = i32;
    pub type c_uint = u32;
    pub type c_long = i32;
    pub type c_ulong = u32;
    pub type c_longlong = i64;
    pub type c_ulonglong = u64;
    pub type c_float = f32;
    pub type c_double = f64;
}

include!(concat!(env!("INTACT_BINDINGS"), "/lab.rs"));

mod layout;
