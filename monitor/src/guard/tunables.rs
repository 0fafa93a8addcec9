//! The kernel settings that the guard may change. It never writes another file.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// `max_ratio_fine` is in parts of a million. Kernels before 6.2 only have `max_ratio`, in percent.
pub const FINE_PER_PERCENT: u64 = 10_000;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tunable {
    /// `strict_limit` of a BDI.
    StrictLimit(Bdi),
    /// `max_ratio` of a BDI, parts of a million.
    MaxRatio(Bdi),
    /// `vm.dirty_bytes`, or `vm.dirty_ratio` if that is in force.
    DirtyLimit,
    /// `vm.dirty_background_bytes`, or `vm.dirty_background_ratio`.
    Background,
}

/// The kernel's name of a BDI, `major:minor`: it becomes part of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bdi(String);

impl TryFrom<String> for Bdi {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let number = |part: &str| {
            (1..10).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let parts = name.split_once(':');
        if parts.is_some_and(|(major, minor)| number(major) && number(minor)) {
            Ok(Self(name))
        } else {
            Err(format!("{name:?} is not a BDI: it must be as in 0:29"))
        }
    }
}

impl From<Bdi> for String {
    fn from(bdi: Bdi) -> Self {
        bdi.0
    }
}

impl fmt::Display for Bdi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A BDI's setting.
    Number(u64),
    /// A limit of the node, bytes.
    Bytes(u64),
    /// A limit of the node, percent. The limit in bytes reads as 0 then.
    Ratio(u64),
}

impl Tunable {
    /// The label value of `throttle_guard_active`.
    pub const fn measure(&self) -> &'static str {
        match self {
            Self::StrictLimit(_) => "strict_limit",
            Self::MaxRatio(_) => "max_ratio",
            Self::DirtyLimit => "dirty_bytes",
            Self::Background => "dirty_background_bytes",
        }
    }

    /// The setting with a value, for people.
    pub fn words(&self, value: Value) -> String {
        match (self, value) {
            (Self::MaxRatio(_), Value::Number(fine)) => {
                let (whole, rest) = (fine / FINE_PER_PERCENT, fine % FINE_PER_PERCENT);
                if rest == 0 {
                    format!("{whole} %")
                } else {
                    format!("{whole}.{rest:04} %")
                }
            }
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Bytes(bytes)) => format!("{bytes} bytes"),
            (Self::Background, Value::Ratio(ratio)) => format!("vm.dirty_background_ratio={ratio}"),
            (_, Value::Ratio(ratio)) => format!("vm.dirty_ratio={ratio}"),
        }
    }
}

impl fmt::Display for Tunable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StrictLimit(bdi) => write!(f, "strict_limit of {bdi}"),
            Self::MaxRatio(bdi) => write!(f, "max_ratio of {bdi}"),
            Self::DirtyLimit => f.write_str("vm.dirty_bytes"),
            Self::Background => f.write_str("vm.dirty_background_bytes"),
        }
    }
}

/// The paths of the settings.
#[derive(Clone, Debug)]
pub struct Tunables {
    vm: PathBuf,
    class: PathBuf,
}

impl Tunables {
    /// The paths below these mounts.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self {
            vm: procfs.join("sys/vm"),
            class: sysfs.join("class/bdi"),
        }
    }

    /// Reads the current value.
    ///
    /// # Errors
    ///
    /// The setting does not exist, or cannot be read.
    pub fn get(&self, tunable: &Tunable) -> io::Result<Value> {
        match tunable {
            Tunable::StrictLimit(bdi) => number(&self.of(bdi, "strict_limit")).map(Value::Number),
            Tunable::MaxRatio(bdi) => {
                let fine = number(&self.of(bdi, "max_ratio_fine"));
                let fine = fine.or_else(|error| {
                    if error.kind() != io::ErrorKind::NotFound {
                        return Err(error);
                    }
                    number(&self.of(bdi, "max_ratio")).map(|ratio| ratio * FINE_PER_PERCENT)
                });
                fine.map(Value::Number)
            }
            Tunable::DirtyLimit => self.limit("dirty_bytes", "dirty_ratio"),
            Tunable::Background => self.limit("dirty_background_bytes", "dirty_background_ratio"),
        }
    }

    /// Sets it.
    ///
    /// # Errors
    ///
    /// The kernel refuses it.
    pub fn set(&self, tunable: &Tunable, value: Value) -> io::Result<()> {
        let (path, number) = match (tunable, value) {
            (Tunable::StrictLimit(bdi), Value::Number(number)) => {
                (self.of(bdi, "strict_limit"), number)
            }
            (Tunable::MaxRatio(bdi), Value::Number(fine)) => {
                let path = self.of(bdi, "max_ratio_fine");
                if path.exists() {
                    (path, fine)
                } else {
                    (self.of(bdi, "max_ratio"), fine / FINE_PER_PERCENT)
                }
            }
            (Tunable::DirtyLimit, Value::Bytes(bytes)) => (self.vm.join("dirty_bytes"), bytes),
            (Tunable::DirtyLimit, Value::Ratio(ratio)) => (self.vm.join("dirty_ratio"), ratio),
            (Tunable::Background, Value::Bytes(bytes)) => {
                (self.vm.join("dirty_background_bytes"), bytes)
            }
            (Tunable::Background, Value::Ratio(ratio)) => {
                (self.vm.join("dirty_background_ratio"), ratio)
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a value of another setting",
                ));
            }
        };
        // Never creates the file.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(path)?;
        file.write_all(format!("{number}\n").as_bytes())
    }

    /// Whether this process may change the dirty limit.
    ///
    /// # Errors
    ///
    /// The reason why not.
    pub fn try_open(&self) -> io::Result<()> {
        let path = self.vm.join("dirty_bytes");
        fs::OpenOptions::new().write(true).open(path).map(drop)
    }

    /// A limit has two files; the one that is not in force reads as 0.
    fn limit(&self, bytes: &str, ratio: &str) -> io::Result<Value> {
        Ok(match number(&self.vm.join(bytes))? {
            0 => Value::Ratio(number(&self.vm.join(ratio))?),
            bytes => Value::Bytes(bytes),
        })
    }

    fn of(&self, bdi: &Bdi, file: &str) -> PathBuf {
        self.class.join(&bdi.0).join(file)
    }
}

fn number(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{text:?} is not a number"),
        )
    };
    text.trim().parse().map_err(|_| bad())
}
