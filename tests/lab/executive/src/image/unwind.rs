//! Walking driver frames with the image's own unwind data, as RtlVirtualUnwind does (PE format, *x64 exception
//! handling*). Only the stack and frame pointers are followed: that is what call sites need.

/// Reads image memory by RVA; `None` outside the image.
pub(super) trait Memory {
    fn read(&self, rva: u32, into: &mut [u8]) -> Option<()>;

    fn u8(&self, rva: u32) -> Option<u8> {
        let mut bytes = [0];
        self.read(rva, &mut bytes)?;
        Some(bytes[0])
    }

    fn u32(&self, rva: u32) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(rva, &mut bytes)?;
        Some(u32::from_le_bytes(bytes))
    }
}

/// A function's range and unwind data, from the exception directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    pub(super) begin: u32,
    pub(super) end: u32,
    pub(super) unwind: u32,
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) rsp: usize,
    pub(super) rbp: usize,
    /// Stack above this is not the driver's.
    pub(super) limit: usize,
    /// The walk starts at a fault: the stack pointer may be anywhere, so memory is read through the host.
    pub(super) careful: bool,
}

const RBP: u8 = 5;
const CHAINED: u8 = 4;

impl Cursor {
    /// Reads the stack; `None` beyond the driver's part.
    fn stack(&self, address: usize) -> Option<usize> {
        if !address.is_multiple_of(8) || address < self.rsp || address + 8 > self.limit {
            return None;
        }
        if self.careful {
            let mut bytes = [0; 8];
            return (crate::fault::read_own_memory(address, &mut bytes) == 8)
                .then(|| usize::from_le_bytes(bytes));
        }
        // SAFETY: the range [rsp, limit) is the driver's live stack: rsp comes from an import thunk or a frame
        // inside, the limit from the lab's own call of the driver above it.
        Some(unsafe { std::ptr::with_exposed_provenance::<usize>(address).read() })
    }

    /// Pops a return address.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let value = self.stack(self.rsp)?;
        self.rsp += 8;
        Some(value)
    }

    /// Undoes one function's prolog and pops its return address. `rva` is where the function stands.
    pub(super) fn step(&mut self, memory: &impl Memory, functions: &[Function], rva: u32) -> Option<usize> {
        let at = functions.partition_point(|f| f.end <= rva);
        if let Some(function) = functions.get(at).filter(|f| f.begin <= rva) {
            let mut unwind = function.unwind;
            let mut offset = rva - function.begin;
            // Chains are short; the bound keeps malformed data from looping.
            for _ in 0..8 {
                match self.undo(memory, unwind, offset)? {
                    Some(next) => (unwind, offset) = (next, u32::MAX),
                    None => return self.pop(),
                }
            }
            return None;
        }
        self.pop()
    }

    /// Undoes the codes of one UNWIND_INFO; returns the next one of a chain.
    fn undo(&mut self, memory: &impl Memory, info: u32, offset: u32) -> Option<Option<u32>> {
        let flags = memory.u8(info)? >> 3;
        let count = u32::from(memory.u8(info.checked_add(2)?)?);
        let frame = memory.u8(info.checked_add(3)?)?;
        let codes = info.checked_add(4)?;
        let slot = |index: u32| -> Option<u32> {
            let low = memory.u8(codes.checked_add(index * 2)?)?;
            let high = memory.u8(codes.checked_add(index * 2 + 1)?)?;
            Some(u32::from(low) | u32::from(high) << 8)
        };
        let mut index = 0;
        while index < count {
            let code = slot(index)?;
            let (at, operation, operand) = (code & 0xFF, (code >> 8) & 0xF, (code >> 12) as u8);
            let done = at <= offset;
            let wide = || Some(slot(index + 1)? | slot(index + 2)? << 16);
            let used = match (operation, operand) {
                (0, register) => {
                    if done {
                        let value = self.pop()?;
                        if register == RBP {
                            self.rbp = value;
                        }
                    }
                    1
                }
                (1, 0) => {
                    self.drop_if(done, slot(index + 1)? * 8);
                    2
                }
                (1, _) => {
                    self.drop_if(done, wide()?);
                    3
                }
                (2, size) => {
                    self.drop_if(done, u32::from(size) * 8 + 8);
                    1
                }
                (3, _) => {
                    if done {
                        if frame & 0xF != RBP {
                            return None;
                        }
                        self.rsp = self.rbp.checked_sub(usize::from(frame >> 4) * 16)?;
                    }
                    1
                }
                (4, register) => {
                    self.restore_if(done, register, slot(index + 1)? * 8)?;
                    2
                }
                (5, register) => {
                    self.restore_if(done, register, wide()?)?;
                    3
                }
                (6 | 8, _) => 2,
                (7 | 9, _) => 3,
                _ => return None,
            };
            index += used;
        }
        if flags & CHAINED == 0 {
            return Some(None);
        }
        memory.u32(codes.checked_add(count.next_multiple_of(2) * 2 + 8)?).map(Some)
    }

    fn drop_if(&mut self, done: bool, bytes: u32) {
        if done {
            self.rsp = self.rsp.saturating_add(bytes as usize);
        }
    }

    fn restore_if(&mut self, done: bool, register: u8, offset: u32) -> Option<()> {
        if done && register == RBP {
            self.rbp = self.stack(self.rsp.checked_add(offset as usize)?)?;
        }
        Some(())
    }
}
