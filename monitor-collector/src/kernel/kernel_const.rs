//! Puts what only the kernel tells into the programs' instructions, before aya reads the
//! object: see [`KernelConst`].

use monitor_common::KernelConst;
use object::{
    LittleEndian, Object as _, ObjectSection as _, SectionKind, elf::FileHeader64,
    read::elf::ElfFile,
};
use thiserror::Error;

/// `BPF_LDX`: into a register, from a register's address and an offset.
const LDX: u8 = 0x01;
const CLASS: u8 = 0x07;
/// `BPF_MEM`.
const MEM: u8 = 0x60;
const MODE: u8 = 0xe0;
/// `BPF_ALU64 | BPF_MOV | BPF_K`: a number into a register.
const MOV: u8 = 0xb7;
/// An instruction: operation, registers, offset (16 bits), number (32 bits).
const INSTRUCTION: usize = 8;

/// What takes the place of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A load at this offset.
    At(i16),
    /// A number.
    Number(i32),
}

/// The object is not as it is built.
#[derive(Debug, Error)]
pub enum BadObject {
    /// It cannot be read.
    #[error("it is not an ELF object: {0}")]
    Elf(#[from] object::Error),
    /// The compiler made something else of a load.
    #[error("no instruction loads {0:?}")]
    Missing(KernelConst),
    /// A field so far behind that no instruction can load it.
    #[error("{0:?} lies too far behind")]
    TooFar(KernelConst),
}

/// The object with what `value` says.
///
/// # Errors
///
/// The object was built wrong.
pub fn patch(object: &[u8], value: impl Fn(KernelConst) -> Value) -> Result<Vec<u8>, BadObject> {
    let mut written = object.to_vec();
    let mut found = [false; KernelConst::ALL.len()];
    let file = ElfFile::<FileHeader64<LittleEndian>>::parse(object)?;
    for section in file.sections() {
        let Some((from, size)) = section.file_range() else {
            continue;
        };
        if section.kind() != SectionKind::Text {
            continue;
        }
        let (Ok(from), Ok(size)) = (usize::try_from(from), usize::try_from(size)) else {
            continue;
        };
        let Some(code) = written.get_mut(from..from + size) else {
            continue;
        };
        for instruction in code.chunks_exact_mut(INSTRUCTION) {
            let [operation, _, low, high, ..] = *instruction else {
                continue;
            };
            if operation & CLASS != LDX || operation & MODE != MEM {
                continue;
            }
            let offset = i16::from_le_bytes([low, high]);
            let Some((what, behind)) = KernelConst::at(offset) else {
                continue;
            };
            found[what as usize] = true;
            match value(what) {
                Value::At(offset) => {
                    let offset = offset.checked_add(behind).ok_or(BadObject::TooFar(what))?;
                    instruction[2..4].copy_from_slice(&offset.to_le_bytes());
                }
                Value::Number(number) => {
                    instruction[0] = MOV;
                    // The source is none.
                    instruction[1] &= 0x0f;
                    instruction[2..4].fill(0);
                    instruction[4..].copy_from_slice(&number.to_le_bytes());
                }
            }
        }
    }
    match KernelConst::ALL
        .into_iter()
        .find(|what| !found[*what as usize])
    {
        Some(missing) => Err(BadObject::Missing(missing)),
        None => Ok(written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static OBJECT: &[u8] =
        aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/throttle-monitor-ebpf"));

    #[test]
    fn each_is_loaded_somewhere_and_none_is_left_when_they_are_put_there() {
        let whole = patch(OBJECT, |_| Value::At(16)).unwrap();
        assert_eq!(whole.len(), OBJECT.len());
        let again = patch(&whole, |_| Value::At(16));
        assert!(
            matches!(again, Err(BadObject::Missing(KernelConst::PauseBdi))),
            "{again:?}"
        );
    }

    #[test]
    fn only_the_loads_are_changed() {
        let offsets = patch(OBJECT, |_| Value::At(16)).unwrap();
        let numbers = patch(OBJECT, |_| Value::Number(-7)).unwrap();
        let mut changed = 0;
        let both = offsets.chunks(8).zip(numbers.chunks(8));
        for ((with_offset, with_number), before) in both.zip(OBJECT.chunks(8)) {
            if with_offset == before {
                assert_eq!(with_number, before);
                continue;
            }
            changed += 1;
            assert_eq!(
                (with_offset[..2] == before[..2], before[0] & CLASS),
                (true, LDX)
            );
            // Into the same register, from none.
            assert_eq!(with_number[..4], [MOV, before[1] & 0x0f, 0, 0]);
            assert_eq!(with_number[4..], (-7_i32).to_le_bytes());
        }
        // Four words of a name, and one each of the rest.
        assert!(changed >= KernelConst::ALL.len() + 3, "{changed}");
    }

    #[test]
    fn what_is_no_object_or_has_fields_too_far_behind_is_refused() {
        assert!(matches!(
            patch(b"\x7fELF", |_| Value::At(0)),
            Err(BadObject::Elf(_))
        ));
        let far = patch(OBJECT, |_| Value::At(i16::MAX));
        assert!(matches!(far, Err(BadObject::TooFar(_))), "{far:?}");
    }
}
