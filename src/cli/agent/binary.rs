//! A binary of tagalong that is to be put on a host: of which architecture it is, and whether it is whole.

use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use ring::digest;

/// What `uname -m` calls the architectures, and what an ELF file calls them.
const MACHINES: [(&str, u16); 6] = [("x86_64", 62), ("aarch64", 183), ("arm64", 183), ("armv7l", 40), ("riscv64", 243), ("ppc64le", 21)];

/// A binary of tagalong.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) path: PathBuf,
    /// Of its bytes, in hex.
    pub(super) sha256: String,
    pub(super) size_bytes: u64,
    machine: u16,
}

impl Binary {
    /// Reads the file `path`, or this very program.
    ///
    /// # Errors
    /// When it cannot be read, is no program for Linux, or its end is missing.
    pub(super) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        // The link leads to the program that runs, even after another one was put in its place.
        let path = path.unwrap_or(Path::new("/proc/self/exe")).to_owned();
        let fault = || format!("The binary {} cannot be read", path.display());
        let mut file = std::fs::File::open(&path).with_context(fault)?;
        let size_bytes = file.metadata().with_context(fault)?.len();
        let mut head = Vec::new();
        file.by_ref().take(64).read_to_end(&mut head).with_context(fault)?;
        let header =
            Header::parse(&head).with_context(|| format!("{} is not a program for Linux; name tagalong's binary.", path.display()))?;
        anyhow::ensure!(
            header.whole_bytes <= size_bytes,
            "{} is truncated: it has {size_bytes} bytes and should have {} or more; copy it again.",
            path.display(),
            header.whole_bytes
        );
        let mut hasher = digest::Context::new(&digest::SHA256);
        hasher.update(&head);
        let mut piece = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut piece).with_context(fault)?;
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
        }
        Ok(Self { sha256: text::hex(hasher.finish().as_ref()), size_bytes, machine: header.machine, path })
    }

    /// Whether it is for a host of this architecture, as `uname -m` calls it there.
    ///
    /// # Errors
    /// One sentence that says which one is needed.
    pub(super) fn fits(&self, host: &str, architecture: &str) -> anyhow::Result<()> {
        let wanted = MACHINES.iter().find(|(name, _)| *name == architecture).map(|(_, machine)| *machine);
        if wanted == Some(self.machine) {
            return Ok(());
        }
        let own = MACHINES.iter().find(|(_, machine)| *machine == self.machine).map_or("another architecture", |(name, _)| *name);
        let which = if self.path == Path::new("/proc/self/exe") { "this tagalong".to_owned() } else { self.path.display().to_string() };
        anyhow::bail!("{host} is {architecture}, and {which} is for {own}: name a binary for {architecture} with --binary FILE.")
    }
}

/// What the first bytes of an ELF file say.
struct Header {
    machine: u16,
    /// The file has at least so many bytes: the table of its sections is the last thing in it.
    whole_bytes: u64,
}

impl Header {
    fn parse(head: &[u8]) -> Option<Self> {
        let is_64_bit_little = head.starts_with(b"\x7fELF\x02\x01");
        if !is_64_bit_little {
            return head.starts_with(b"\x7fELF\x01\x01").then(|| Some(Self { machine: half(head, 18)?, whole_bytes: 0 }))?;
        }
        let table = u64::from_le_bytes(head.get(40..48)?.try_into().ok()?);
        let sections = u64::from(half(head, 58)?) * u64::from(half(head, 60)?);
        Some(Self { machine: half(head, 18)?, whole_bytes: table.saturating_add(sections) })
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Binary;

    #[test]
    fn another_architecture_and_half_a_binary_are_named() {
        let own = Binary::read(None).unwrap();
        let (same, other) = if cfg!(target_arch = "x86_64") { ("x86_64", "aarch64") } else { ("aarch64", "x86_64") };
        own.fits("edge", same).unwrap();
        let why = own.fits("edge", other).unwrap_err().to_string();
        assert_eq!(why, format!("edge is {other}, and this tagalong is for {same}: name a binary for {other} with --binary FILE."));
        assert!(own.fits("edge", "vax").is_err());
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("half");
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        assert!(Binary::read(Some(&file)).unwrap_err().to_string().contains("is truncated"));
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        assert!(Binary::read(Some(&file)).unwrap_err().to_string().contains("is not a program for Linux"));
    }
}
