//! How each rule judges: what it finds in a service, as the words behind the service's name.

use serde_json::Value;

use crate::policy::Policy;
use crate::service::Service;

type Found = Vec<String>;

fn found(what: Option<impl Into<String>>) -> Found {
    what.into_iter().map(Into::into).collect()
}

pub(crate) fn privileged(service: &Service<'_>, _: &Policy) -> Found {
    let mut all = found(service.is("privileged").then_some("is privileged"));
    let hooks = ["post_start", "pre_stop"].into_iter().filter(|hooks| service.has_privileged(hooks));
    all.extend(hooks.map(|hooks| format!("has a command that is privileged ({hooks})")));
    all
}

pub(crate) fn docker_socket(service: &Service<'_>, _: &Policy) -> Found {
    const SOCKETS: [&str; 4] = ["/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"];
    let is_named = |source: &str| SOCKETS.iter().any(|socket| socket.rsplit('/').next() == source.rsplit('/').next());
    let has_it = |source: &&str| {
        let source = plain(source).unwrap_or_else(|| (*source).to_owned());
        is_named(&source) || SOCKETS.iter().any(|socket| is_within(socket, &source))
    };
    let mounted = service.mounted().into_iter().filter(has_it);
    let mut all: Found = mounted.map(|source| format!("mounts {source}, which has the socket of Docker in it or is it")).collect();
    all.extend(service.is("use_api_socket").then(|| "uses the socket of Docker (use_api_socket)".to_owned()));
    all
}

pub(crate) fn host_network(service: &Service<'_>, _: &Policy) -> Found {
    let is_host = service.text("network_mode") == "host" || service.networks().contains(&"host");
    let mut all = found(is_host.then_some("is in the network of the host"));
    all.extend(service.shares_with("network_mode").map(|other| format!("is in the network of the container {other}")));
    all
}

pub(crate) fn host_pid(service: &Service<'_>, _: &Policy) -> Found {
    let mut all = found((service.text("pid") == "host").then_some("sees the processes of the host (pid: host)"));
    all.extend(service.shares_with("pid").map(|other| format!("sees the processes of the container {other}")));
    all
}

pub(crate) fn host_namespace(service: &Service<'_>, _: &Policy) -> Found {
    let shared = ["ipc", "uts", "userns_mode", "cgroup"].into_iter().filter(|key| service.text(key) == "host");
    let mut all: Found = shared.map(|key| format!("has {key}: host")).collect();
    all.extend(service.shares_with("ipc").map(|other| format!("has ipc: container:{other}")));
    all
}

pub(crate) fn capabilities(service: &Service<'_>, policy: &Policy) -> Found {
    let bare = |name: &str| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned();
    let is_allowed = |name: &&str| policy.capabilities.iter().any(|allowed| bare(allowed) == bare(name));
    service.texts("cap_add").into_iter().filter(|name| !is_allowed(name)).map(|name| format!("has the capability {name}")).collect()
}

pub(crate) fn unconfined(service: &Service<'_>, _: &Policy) -> Found {
    let is_open = |option: &&str| option.ends_with("unconfined") || option.replace('=', ":") == "label:disable";
    let options = service.texts("security_opt").into_iter().filter(is_open);
    options.map(|option| format!("is not confined (security_opt {option})")).collect()
}

pub(crate) fn devices(service: &Service<'_>, _: &Policy) -> Found {
    let source = |device: &Value| device.as_str().map(|text| text.split(':').next().unwrap_or(text).to_owned());
    let named = |device: &Value| source(device).or_else(|| Some(device.get("source")?.as_str()?.to_owned()));
    let mut all: Found = service.items("devices").into_iter().filter_map(named).map(|device| format!("has the device {device}")).collect();
    all.extend(service.texts("device_cgroup_rules").into_iter().map(|rule| format!("has the devices {rule} (device_cgroup_rules)")));
    all
}

pub(crate) fn bind_mount(service: &Service<'_>, policy: &Policy) -> Found {
    let folders: Vec<String> = policy.folders.iter().filter_map(|folder| plain(folder)).collect();
    let is_allowed = |source: &&str| plain(source).is_some_and(|source| folders.iter().any(|folder| is_within(&source, folder)));
    let mounted = service.mounted().into_iter().filter(|source| !is_allowed(source));
    let mut all: Found = mounted.map(|source| format!("mounts {source}")).collect();
    let others = service.texts("volumes_from").into_iter().filter_map(|from| from.strip_prefix("container:"));
    all.extend(others.map(|other| format!("mounts what the container {other} has mounted")));
    all
}

pub(crate) fn published_port(service: &Service<'_>, policy: &Policy) -> Found {
    let mut all = Found::new();
    for port in service.items("ports") {
        let text = |key: &str| port.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let address = text("host_ip").unwrap_or_default();
        let is_loopback = address.starts_with("127.") || matches!(address.as_str(), "::1" | "[::1]" | "localhost");
        let published = text("published").unwrap_or_default();
        if is_loopback || is_allowed_port(&published, policy) {
            continue;
        }
        let shown = if published.is_empty() { "a free port".to_owned() } else { format!("port {published}") };
        let on = if address.is_empty() { "all addresses".to_owned() } else { address };
        all.push(format!("publishes {shown} on {on}"));
    }
    all
}

/// Whether all ports of a range like `8000-8010` may be published.
fn is_allowed_port(published: &str, policy: &Policy) -> bool {
    let (first, last) = published.split_once('-').unwrap_or((published, published));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => (first..=last).all(|port| policy.ports.contains(&port)),
        _ => false,
    }
}

pub(crate) fn memory_limit(service: &Service<'_>, _: &Policy) -> Found {
    let is_set = |path: &str| service.at(path).is_some_and(|limit| !matches!(limit.to_string().trim_matches('"'), "" | "0"));
    let has_limit = ["mem_limit", "deploy/resources/limits/memory"].into_iter().any(is_set);
    found((!has_limit).then_some("has no memory limit"))
}

pub(crate) fn labels(service: &Service<'_>, policy: &Policy) -> Found {
    let given = service.labels();
    policy.labels.iter().filter(|label| !given.contains(&label.as_str())).map(|label| format!("has no label {label}")).collect()
}

pub(crate) fn foreign_image(service: &Service<'_>, policy: &Policy) -> Found {
    let image = service.text("image");
    if image.is_empty() || service.is_pinned() || policy.repositories.is_empty() {
        return Found::new();
    }
    let repository = whole(without_tag(image));
    let is_of = |allowed: &String| {
        let allowed = whole(allowed.trim_end_matches('/'));
        repository.strip_prefix(allowed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    found((!policy.repositories.iter().any(is_of)).then(|| format!("has the image {image}, which is of another repository")))
}

pub(crate) fn unpinned_image(service: &Service<'_>, _: &Policy) -> Found {
    let image = service.text("image");
    let is_open = !image.is_empty() && !service.is_pinned() && !image.contains("@sha256:") && service.at("build").is_none();
    found(is_open.then(|| format!("has the image {image}, which has no digest")))
}

/// `path` without `.` and `..`, as Docker reads it; none: it does not begin at the root, so that nobody knows where it leads.
fn plain(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// Whether `path` is `folder` or in it.
fn is_within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn without_tag(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(repository, _)| repository)
}

/// A repository with its registry: `postgres` is `docker.io/library/postgres`.
fn whole(name: &str) -> String {
    let name = name.strip_prefix("index.docker.io/").map_or_else(|| name.to_owned(), |rest| format!("docker.io/{rest}"));
    let first = name.split('/').next().unwrap_or_default();
    let has_registry = first.contains(['.', ':']) || first == "localhost";
    match (has_registry, name.contains('/')) {
        (true, _) => name,
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    }
}
