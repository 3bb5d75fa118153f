//! The login of a registry, which `docker pull` reads from a file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::world::Settings;
use crate::world::World;

/// The logins that stand in folders below `place`.
fn logins(place: &Path, host: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(place).into_iter().flatten().flatten();
    let files = folders.map(|folder| folder.path().join("config.json"));
    files.filter(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains(host))).collect()
}

/// It stands in the data folder while it is needed. Where tagalong is killed then, the next start removes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_outlive_a_kill() {
    let mut world = World::landed(&Settings::default()).await;
    let host = world.image("v1").split('/').next().unwrap().to_owned();
    let registry = format!("[[registry]]\nhost = \"{host}\"\nuser = \"robot\"\npassword_file = \"page.password\"\n[docker]\n");
    world.reconfigure("[docker]\n", &registry).await;
    world.arm("pull@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("pull@v2").await;
    let place = world.path("data/passing");
    let used = logins(&place, &host);
    assert_eq!(used.len(), 1, "it stands where it is looked for");
    for path in [&place, used[0].parent().unwrap(), &used[0]] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
    assert_eq!(logins(&std::env::temp_dir(), &host), Vec::<PathBuf>::new(), "others write there");
    world.kill();
    assert_eq!(logins(&place, &host), used, "nobody was there to remove it");
    world.disarm("pull@v2");
    world.start().await;
    assert!(!used[0].exists(), "the start has removed it");
    assert_eq!(world.server().outcome(&id).await["outcome"], "live", "{}", world.server().journal(&id).await);
    assert_eq!(logins(&place, &host), Vec::<PathBuf>::new());
    world.finish().await;
}
