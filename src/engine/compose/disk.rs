//! Room for images on the disk of the daemon's host.

use std::path::Path;

use crate::engine::compose::server::Server;
use crate::engine::compose::stack::Compose;
use crate::engine::error::EngineError;
use crate::engine::room::Room;
use crate::model::Repository;

/// Layers are stored unpacked beside what runs: so many times their packed size is what images need in practice.
const UNPACKED: u64 = 3;
/// What stays free beside the image.
const MARGIN_BYTES: u64 = 64 << 20;
const INODES: u64 = 2000;

impl Compose {
    /// Whether `image`, which is `packed_bytes` long at its registry, has room where `server` keeps images.
    ///
    /// # Errors
    /// When nobody waits for the answer any more.
    pub async fn room_for(&self, server: &Server, image: &Repository, packed_bytes: u64) -> Result<Room, EngineError> {
        let root = server.root_dir.clone();
        let image = image.clone();
        self.on_disk(move |_| Ok(room_in(Path::new(&root), &image, packed_bytes))).await
    }
}

fn room_in(root: &Path, image: &Repository, packed_bytes: u64) -> Room {
    let Ok(free) = rustix::fs::statvfs(root) else {
        return Room::Unknown(format!("{} is not visible from here, so the free disk space is not checked", root.display()));
    };
    let free_bytes = free.f_bavail * free.f_frsize;
    let wanted_bytes = packed_bytes.saturating_mul(UNPACKED).saturating_add(MARGIN_BYTES);
    let mib = |bytes: u64| bytes >> 20;
    if free_bytes < wanted_bytes {
        return Room::TooLittle(format!(
            "{image} needs about {} MiB in {}, but only {} MiB are free; free some space with `docker image prune`.",
            mib(wanted_bytes),
            root.display(),
            mib(free_bytes)
        ));
    }
    if free.f_files > 0 && free.f_favail < INODES {
        return Room::TooLittle(format!("{} has only {} free inodes; remove unused images or files.", root.display(), free.f_favail));
    }
    Room::Enough
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::room_in;
    use crate::engine::room::Room;
    use crate::model::Repository;

    #[test]
    fn an_image_has_room_or_the_answer_says_what_is_missing() {
        let image = Repository::parse("acme/web").expect("a name");
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(room_in(folder.path(), &image, 0), Room::Enough);
        let Room::TooLittle(why) = room_in(folder.path(), &image, u64::MAX) else { panic!("no disk is so large") };
        assert!(why.starts_with("acme/web needs about ") && why.ends_with("with `docker image prune`."), "{why}");
        let gone = Path::new("/no such folder");
        assert!(matches!(room_in(gone, &image, 1), Room::Unknown(why) if why.contains("is not visible from here")));
    }
}
