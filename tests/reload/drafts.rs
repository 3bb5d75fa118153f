//! What an app has not committed yet, while reloads go wrong around it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde_json::json;

use crate::support::Place;
use crate::support::Plan;
use crate::support::Server;
use crate::support::git;

/// A git that is killed at every call whose words the file `killed` has.
fn killable_git(place: &Place) -> PathBuf {
    let file = place.path().join("killable-git");
    let list = place.path().join("killed");
    let script = format!("#!/bin/sh\nfor word; do grep -qsxF -e \"$word\" '{}' && kill -9 $$; done\nexec git \"$@\"\n", list.display());
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn draft(checkout: &Path) {
    std::fs::write(checkout.join("notes/one.md"), "being written\n").unwrap();
    std::fs::write(checkout.join("notes/draft.md"), "a draft\n").unwrap();
}

fn assert_untouched(place: &Place, checkout: &Path, when: &str) {
    let read = |file| std::fs::read_to_string(checkout.join(file)).unwrap_or_default();
    assert_eq!((read("notes/one.md"), read("notes/draft.md")), ("being written\n".into(), "a draft\n".into()), "{when}");
    for parked in [checkout, &place.remote()] {
        let refs = git(parked, &["for-each-ref", "refs/heads/conflicts", "refs/tagalong/parked", "refs/tagalong/kept"]);
        assert_eq!(refs, "", "{when}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_failed_leaves_a_live_apps_drafts_where_they_are() {
    let place = Place::new();
    // A git of the test's own making reads a file beside the checkout.
    let plan = || Plan::new("pod").dataset(&format!("git = {:?}\nconfine = \"never\"", killable_git(&place)));
    let server = Server::start(plan().write(&place)).await;
    server.until_loaded(&place.tip()).await;
    let checkout = plan().checkout(&place);
    draft(&checkout);
    for word in ["fetch", "rev-list", "read-tree", "diff-tree", "update-ref"] {
        let new = place.push(&[("notes/two.md", word)]);
        std::fs::write(place.path().join("killed"), format!("{word}\n")).unwrap();
        let (status, answer) = server.reload(&json!({})).await;
        assert_ne!(status, 200, "{word}: {answer}");
        std::fs::remove_file(place.path().join("killed")).unwrap();
        assert_untouched(&place, &checkout, word);
        let (status, answer) = server.reload(&json!({ "commitHash": new })).await;
        assert_eq!((status, &answer["loaded"]), (200, &json!(new)), "{word}: {answer}");
        assert_untouched(&place, &checkout, word);
    }
    // Other settings of the same folder are no new start of the app.
    plan().dataset("grace_s = 5").write(&place);
    server.app().read_again(&server.file);
    let new = place.push(&[("notes/two.md", "more\n")]);
    let (status, answer) = server.reload(&json!({ "commitHash": new })).await;
    assert_eq!((status, &answer["loaded"]), (200, &json!(new)), "{answer}");
    assert_untouched(&place, &checkout, "after another configuration");
    server.stop().await;
    // A start is one: what nobody has committed is kept aside.
    let server = Server::start(plan().write(&place)).await;
    server.reload(&json!({})).await;
    assert_eq!(std::fs::read_to_string(checkout.join("notes/one.md")).unwrap(), "the first note\n");
    server.stop().await;
}
