//! An image whose label says that nobody goes back past it, on Docker itself.

use serde_json::json;

use crate::real::Docker;
use crate::real::Images;
use crate::real::Site;
use crate::real::is_outcome;

/// Two, with the label, as `labelled`.
fn labelled(site: &Site, images: &Images) -> String {
    let tag = images.tag("labelled");
    let dir = tempfile::tempdir().expect("a folder");
    let base = format!("{}:{}", site.repository, images.tag("two"));
    let file = format!("FROM {base}\nLABEL tagalong.no-rollback-past=true\nRUN [\"/bin/sh\", \"-c\", \"echo {tag} >/www/version\"]\n");
    std::fs::write(dir.path().join("Dockerfile"), file).expect("a file");
    let name = format!("{}:{tag}", site.repository);
    site.docker.says(&["pull", "-q", &base]);
    site.docker.says(&["build", "-q", "-t", &name, dir.path().to_str().expect("a path")]);
    site.docker.says(&["push", &name]);
    site.docker.says(&["rmi", &name]);
    tag
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_goes_back_past_an_image_that_says_so() {
    let images = Images::make();
    let site = Site::make(&images, &Docker { host: None }, &images.port, json!({})).await;
    let tag = labelled(&site, &images);
    is_outcome(&site.deploy(&images.tag("one")).await, "live");
    is_outcome(&site.deploy(&tag).await, "live");
    site.serves(&tag).await;
    let before = site.containers();
    let back = json!({ "service": site.project });
    let (status, refused) = site.server().post("/api/v1/rollbacks", back.clone()).await;
    assert_eq!(status, 422, "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains(&tag)), "{refused}");
    assert_eq!(site.containers(), before);
    site.serves(&tag).await;
    // A newer one is gone back from as far as the labelled one, and no further.
    is_outcome(&site.deploy(&images.tag("five")).await, "live");
    is_outcome(&site.roll_back().await, "live");
    site.serves(&tag).await;
    // Whoever knows better says so.
    let mut forced = back;
    forced["force"] = json!(true);
    forced["to"] = json!({ "tag": images.tag("one") });
    let id = site.server().order("/api/v1/rollbacks", forced).await;
    is_outcome(&site.ended(&id).await, "live");
    site.serves(&images.tag("one")).await;
    site.finish().await;
}
