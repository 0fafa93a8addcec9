//! The program that does nothing: loaded by the bare system call, for two
//! instructions need no compiler.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

/// `r0 = 0; exit`.
const NOTHING: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// The beginning of `union bpf_attr`, for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The same for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct Open {
    name: u64,
    program: u32,
    zero: u32,
}

/// An empty program at a tracepoint, until it is dropped.
pub struct Empty {
    /// Without its group.
    pub tracepoint: String,
    program: OwnedFd,
    _link: OwnedFd,
}

impl Empty {
    /// Puts it there.
    pub fn put(tracepoint: &str) -> Result<Self> {
        let mut name = [0; 16];
        name[..5].copy_from_slice(b"empty");
        let license = c"GPL";
        let load = Load {
            program_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
            instructions: 2,
            code: NOTHING.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: 0,
            name,
        };
        let program = bpf(BPF_PROG_LOAD, &load).context("loading it")?;
        let at = CString::new(tracepoint)?;
        let open = Open {
            name: at.as_ptr() as u64,
            program: u32::try_from(program.as_raw_fd())?,
            zero: 0,
        };
        let link = bpf(BPF_RAW_TRACEPOINT_OPEN, &open).context("attaching it")?;
        Ok(Self {
            tracepoint: tracepoint.to_owned(),
            program,
            _link: link,
        })
    }

    /// The program's id.
    pub fn id(&self) -> Option<u32> {
        let path = format!("/proc/self/fdinfo/{}", self.program.as_raw_fd());
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
        line?.trim().parse().ok()
    }
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes as are said; what they point to
    // outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was made by this call, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
