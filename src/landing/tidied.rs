//! What is known of old images without asking: which of them are being removed just now, and which are gone.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::watch;

use crate::model::ImageRef;
use crate::model::ServiceName;

/// What is known of the old images of a host.
#[derive(Debug, Default)]
pub(super) struct Tidied {
    /// By digest.
    removing: watch::Sender<HashSet<String>>,
    /// By digest, and of each service only those that its record still names.
    gone: Mutex<HashMap<ServiceName, HashSet<String>>>,
}

/// An image is being removed as long as this lives.
pub(super) struct Removing<'a> {
    tidied: &'a Tidied,
    digest: String,
}

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        self.tidied.removing.send_modify(|removing| {
            removing.remove(&self.digest);
        });
    }
}

impl Tidied {
    /// From now on whoever needs `image` waits for its removal. Whether somebody needs it already is to be asked after this.
    pub(super) fn begin(&self, image: &ImageRef) -> Removing<'_> {
        let digest = image.by_digest();
        self.removing.send_modify(|removing| {
            removing.insert(digest.clone());
        });
        Removing { tidied: self, digest }
    }

    /// Waits until none of `images` is being removed. Whoever has stored before that he needs them finds, afterwards, those that
    /// are there still there.
    pub(super) async fn settled(&self, images: &[ImageRef]) {
        let digests: Vec<String> = images.iter().map(ImageRef::by_digest).collect();
        // It ends only with this value.
        let _ = self.removing.subscribe().wait_for(|removing| digests.iter().all(|digest| !removing.contains(digest))).await;
    }

    /// `images` of `service` are gone.
    pub(super) fn remember<'a>(&self, service: &ServiceName, images: impl IntoIterator<Item = &'a ImageRef>) {
        let digests = images.into_iter().map(ImageRef::by_digest);
        self.gone().entry(service.clone()).or_default().extend(digests);
    }

    /// `image` is back for `service`.
    pub(super) fn forget(&self, service: &ServiceName, image: &ImageRef) {
        if let Some(gone) = self.gone().get_mut(service) {
            gone.remove(&image.by_digest());
        }
    }

    /// Takes out of `old`, which are all the old images of `service`, those that are gone. What is not among them is forgotten.
    pub(super) fn recall(&self, service: &ServiceName, old: &mut Vec<ImageRef>) {
        let mut all = self.gone();
        let Some(gone) = all.get_mut(service) else { return };
        let named: HashSet<String> = old.iter().map(ImageRef::by_digest).collect();
        gone.retain(|digest| named.contains(digest));
        old.retain(|image| !gone.contains(&image.by_digest()));
    }

    fn gone(&self) -> MutexGuard<'_, HashMap<ServiceName, HashSet<String>>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
