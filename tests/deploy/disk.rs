//! A disk that fills up.

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::support::host;

/// A small file system of its own over a folder; what was in the folder is in it.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn over(folder: &Path, size: &str) -> Self {
        let path = folder.display().to_string();
        host("sh", &["-c", &format!("mkdir -p {path} && cp -a {path} {path}.before")]);
        host("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs", &path]);
        host("sh", &["-c", &format!("cp -a {path}.before/. {path}/ && rm -rf {path}.before")]);
        Self(folder.to_owned())
    }

    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("fill")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    pub(crate) fn empty(&self) {
        let _ = std::fs::remove_file(self.0.join("fill"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
