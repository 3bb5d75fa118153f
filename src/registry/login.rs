//! Credentials of registries: from Docker's own configuration, its helpers among it, and the other way round for `docker pull`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek as _;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use process::Cancel;
use process::Command;
use process::Passing;
use text::Secret;

use crate::config::Docker;

/// A login as a registry is shown it.
#[derive(Debug)]
pub struct Login {
    /// The registry's host and port, as in image names.
    pub host: String,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// What Docker would send to `host`: from its `config.json`, its credential helpers among it; anonymous where it has none.
pub(super) async fn of_docker(docker: &Docker, host: &str) -> RegistryAuth {
    let file = docker.config_dir.clone().unwrap_or_else(|| PathBuf::from(&docker.home).join(".docker")).join("config.json");
    let config: serde_json::Value = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let hosts = if host == "index.docker.io" {
        vec!["https://index.docker.io/v1/".to_owned()]
    } else {
        vec![host.to_owned(), format!("https://{host}")]
    };
    for name in &hosts {
        let helper = config["credHelpers"][name].as_str().or_else(|| config["credsStore"].as_str());
        if let Some(helper) = helper
            && let Some(auth) = of_helper(docker, helper, name).await
        {
            return auth;
        }
        if let Some(auth) = of_entry(&config["auths"][name]) {
            return auth;
        }
    }
    RegistryAuth::Anonymous
}

fn of_entry(entry: &serde_json::Value) -> Option<RegistryAuth> {
    let decoded = STANDARD.decode(entry["auth"].as_str()?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Asks `docker-credential-HELPER get`, which reads the host from its standard input and answers in JSON.
async fn of_helper(docker: &Docker, helper: &str, host: &str) -> Option<RegistryAuth> {
    let mut question = tempfile::tempfile().ok()?;
    question.write_all(host.as_bytes()).ok()?;
    question.rewind().ok()?;
    let command = Command {
        program: format!("docker-credential-{helper}"),
        args: vec!["get".to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), docker.path.clone()), ("HOME".to_owned(), docker.home.clone())]),
        dir: None,
        deadline: Duration::from_secs(10),
        mask: Arc::default(),
        lock: Some(Arc::new(question)),
    };
    let answer = process::capture(&command, &Cancel::default()).await.success().ok()?;
    let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
    Some(RegistryAuth::Basic(answer["Username"].as_str()?.to_owned(), answer["Secret"].as_str()?.to_owned()))
}

/// A folder in `place` for `DOCKER_CONFIG` that holds one login, readable by nobody else and gone with the value: so that a
/// password never stands on a command line.
///
/// # Errors
/// When it cannot be written.
pub fn docker_config(place: &Path, login: &Login) -> std::io::Result<Passing> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    let folder = Passing::within(place)?;
    let auth = STANDARD.encode(format!("{}:{}", login.user, login.password.reveal()));
    let config = serde_json::json!({ "auths": { login.host.as_str(): { "auth": auth } } });
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(folder.path().join("config.json"))?;
    file.write_all(config.to_string().as_bytes())?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use text::Secret;

    use super::Login;
    use super::docker_config;
    use super::of_docker;
    use crate::config::Docker;
    use oci_client::secrets::RegistryAuth;
    use std::os::unix::fs::PermissionsExt as _;

    fn docker(folder: &std::path::Path) -> Docker {
        Docker {
            program: "docker".into(),
            path: folder.display().to_string() + ":/usr/bin:/bin",
            home: "/nowhere".into(),
            host: None,
            config_dir: Some(folder.to_owned()),
            wait: std::time::Duration::from_secs(1),
        }
    }

    #[tokio::test]
    async fn a_written_login_is_read_back_and_private() {
        let place = tempfile::tempdir().expect("a folder");
        let login = Login { host: "registry.example.com".into(), user: "robot".into(), password: Secret::new("pass:word".into()) };
        let folder = docker_config(&place.path().join("passing"), &login).expect("a folder");
        for path in [folder.path(), &folder.path().join("config.json")] {
            assert_eq!(std::fs::metadata(path).expect("it is there").permissions().mode() & 0o077, 0);
        }
        let read = of_docker(&docker(folder.path()), "registry.example.com").await;
        assert_eq!(read, RegistryAuth::Basic("robot".into(), "pass:word".into()));
        assert_eq!(of_docker(&docker(folder.path()), "other.example.com").await, RegistryAuth::Anonymous);
    }

    #[tokio::test]
    async fn a_credential_helper_is_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let helper = folder.path().join("docker-credential-test");
        std::fs::write(&helper, "#!/bin/sh\nread host\nprintf '{\"Username\":\"u-%s\",\"Secret\":\"s\"}' \"$host\"\n").expect("a helper");
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).expect("executable");
        std::fs::write(folder.path().join("config.json"), r#"{"credHelpers":{"registry.example.com":"test"}}"#).expect("a config");
        let read = of_docker(&docker(folder.path()), "registry.example.com").await;
        assert_eq!(read, RegistryAuth::Basic("u-registry.example.com".into(), "s".into()));
    }
}
