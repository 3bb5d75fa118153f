use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use crate::Level;
use crate::Policy;
use crate::RuleName;
use crate::Stack;
use crate::judge;

/// A service that no rule has anything against.
fn sound() -> Value {
    json!({
        "image": "postgres:17@sha256:00", "mem_limit": "1073741824", "labels": { "owner": "ops" },
        "volumes": [
            { "type": "bind", "source": "/srv/web/data", "target": "/data" },
            { "type": "bind", "source": "/srv/shared", "target": "/shared" },
            { "type": "volume", "source": "db", "target": "/db" },
            { "type": "tmpfs", "target": "/tmp" }
        ],
        "ports": [
            { "target": 80, "published": "8080", "host_ip": "127.0.0.1" },
            { "target": 443, "published": "443" }
        ],
        "cap_add": ["NET_BIND_SERVICE"], "networks": { "default": null }, "security_opt": ["no-new-privileges:true"]
    })
}

fn policy() -> Policy {
    let text = |text: &str| text.to_owned();
    Policy {
        folders: vec![text("/srv/web"), text("/srv/shared")],
        repositories: vec![text("postgres"), text("ghcr.io/acme/")],
        labels: vec![text("owner")],
        ports: vec![443, 8443],
        capabilities: vec![text("CAP_NET_BIND_SERVICE")],
        ..Policy::default()
    }
}

/// What is found where `change` makes a sound service into another, as rule and message.
fn found(change: &Value, policy: &Policy) -> Vec<String> {
    let mut service = sound();
    for (key, value) in change.as_object().expect("an object") {
        service[key] = value.clone();
    }
    let config = json!({
        "services": { "db": service, "tool": { "privileged": true } },
        "networks": { "default": { "name": "web_default" }, "outer": { "name": "host", "external": true } },
        "secrets": { "key": { "name": "x", "file": "/etc/ssl/key.pem" }, "env": { "environment": "X" } }
    });
    let devices = BTreeMap::from([("etc".to_owned(), vec!["/etc".to_owned(), "/srv/shared/work".to_owned()])]);
    let stack = Stack { config: &config, active: &["db"], pinned: &[], devices: &devices };
    judge(&stack, policy).iter().map(|finding| format!("{}: {}", finding.rule.rule().name, finding.message)).collect()
}

#[test]
fn each_rule_finds_what_it_says_and_nothing_else() {
    assert_eq!(found(&json!({}), &policy()), Vec::<String>::new());
    let bind = |source: &str| json!({ "volumes": [{ "type": "bind", "source": source, "target": "/x" }] });
    let mut seen: Vec<&str> = Vec::new();
    for (change, wanted) in [
        (json!({ "privileged": true }), &["privileged: db is privileged."][..]),
        (bind("/srv/web/docker.sock"), &["docker_socket: db mounts /srv/web/docker.sock, which has the socket of Docker in it or is it."]),
        (
            bind("/var/run"),
            &["docker_socket: db mounts /var/run, which has the socket of Docker in it or is it.", "bind_mount: db mounts /var/run."],
        ),
        (bind("/"), &["docker_socket: db mounts /, which has the socket of Docker in it or is it.", "bind_mount: db mounts /."]),
        (json!({ "use_api_socket": true }), &["docker_socket: db uses the socket of Docker (use_api_socket)."]),
        (json!({ "network_mode": "host" }), &["host_network: db is in the network of the host."]),
        (json!({ "networks": { "outer": null } }), &["host_network: db is in the network of the host."]),
        (json!({ "pid": "host" }), &["host_pid: db sees the processes of the host (pid: host)."]),
        (json!({ "ipc": "host", "cgroup": "host" }), &["host_namespace: db has ipc: host.", "host_namespace: db has cgroup: host."]),
        (json!({ "cap_add": ["SYS_ADMIN", "net_bind_service"] }), &["capabilities: db has the capability SYS_ADMIN."]),
        (json!({ "security_opt": ["seccomp:unconfined"] }), &["unconfined: db is not confined (security_opt seccomp:unconfined)."]),
        (json!({ "security_opt": ["label=disable"] }), &["unconfined: db is not confined (security_opt label=disable)."]),
        (json!({ "devices": [{ "source": "/dev/kmsg", "target": "/dev/kmsg" }] }), &["devices: db has the device /dev/kmsg."]),
        (bind("/srv/website"), &["bind_mount: db mounts /srv/website."]),
        (json!({ "volumes": [{ "type": "volume", "source": "etc", "target": "/x" }] }), &["bind_mount: db mounts /etc."]),
        (json!({ "secrets": [{ "source": "key" }, { "source": "env" }] }), &["bind_mount: db mounts /etc/ssl/key.pem."]),
        (json!({ "ports": [{ "target": 80, "published": "80" }] }), &["published_port: db publishes port 80 on all addresses."]),
        (
            json!({ "ports": [{ "target": 80, "published": "442-443", "host_ip": "::" }] }),
            &["published_port: db publishes port 442-443 on ::."],
        ),
        (json!({ "ports": [{ "target": 80 }] }), &["published_port: db publishes a free port on all addresses."]),
        (json!({ "mem_limit": "0" }), &["memory_limit: db has no memory limit."]),
        (json!({ "mem_limit": null, "deploy": { "resources": { "limits": { "memory": "5" } } } }), &[]),
        (json!({ "labels": { "other": "x" } }), &["labels: db has no label owner."]),
        (json!({ "labels": ["owner=me"] }), &[]),
        (
            json!({ "image": "quay.io/x/postgres@sha256:0" }),
            &["foreign_image: db has the image quay.io/x/postgres@sha256:0, which is of another repository."],
        ),
        (json!({ "image": "ghcr.io/acme/tool:1@sha256:0" }), &[]),
        (
            json!({ "image": "ghcr.io/acmes/tool@sha256:0" }),
            &["foreign_image: db has the image ghcr.io/acmes/tool@sha256:0, which is of another repository."],
        ),
        (
            json!({ "image": "docker.io/library/postgres:17" }),
            &["unpinned_image: db has the image docker.io/library/postgres:17, which has no digest."],
        ),
    ] {
        assert_eq!(found(&change, &policy()), wanted, "{change}");
        seen.extend(wanted.iter().filter_map(|finding| finding.split(':').next()));
    }
    for rule in RuleName::all() {
        assert!(seen.contains(&rule.rule().name), "no row shows {}", rule.rule().name);
        assert_eq!(RuleName::parse(rule.rule().name), Ok(rule));
    }
    assert!(RuleName::parse("priviledged").is_err_and(|why| why.ends_with("did you mean privileged?")));
}

#[test]
fn what_is_shared_with_others_and_privileged_hooks_are_found() {
    for (change, wanted) in [
        (json!({ "post_start": "hmac:00" }), &["privileged: db has a command that is privileged (post_start)."][..]),
        (json!({ "pre_stop": [{ "command": "x", "privileged": true }] }), &["privileged: db has a command that is privileged (pre_stop)."]),
        (
            json!({ "post_start": [{ "command": "x" }, { "privileged": "hmac:00" }] }),
            &["privileged: db has a command that is privileged (post_start)."],
        ),
        (json!({ "post_start": [{ "command": "x" }], "pre_stop": [{ "privileged": false }] }), &[]),
        (json!({ "network_mode": "container:x" }), &["host_network: db is in the network of the container x."]),
        (json!({ "pid": "container:x" }), &["host_pid: db sees the processes of the container x."]),
        (json!({ "ipc": "container:x" }), &["host_namespace: db has ipc: container:x."]),
        (json!({ "pid": "service:x", "ipc": "service:x", "network_mode": "service:x", "volumes_from": ["x:ro"] }), &[]),
        (json!({ "volumes_from": ["container:x:ro"] }), &["bind_mount: db mounts what the container x:ro has mounted."]),
    ] {
        assert_eq!(found(&change, &policy()), wanted, "{change}");
    }
}

#[test]
fn paths_are_judged_as_docker_reads_them() {
    let bind = |source: &str| json!({ "volumes": [{ "type": "bind", "source": source, "target": "/x" }] });
    for (change, wanted) in [
        (bind("/srv/web/../shared/./x//y"), &[][..]),
        (bind("/srv/web/../web2"), &["bind_mount: db mounts /srv/web/../web2."]),
        (
            bind("/srv/web/../../var/run"),
            &[
                "docker_socket: db mounts /srv/web/../../var/run, which has the socket of Docker in it or is it.",
                "bind_mount: db mounts /srv/web/../../var/run.",
            ],
        ),
        (
            bind("/run/docker.sock/."),
            &[
                "docker_socket: db mounts /run/docker.sock/., which has the socket of Docker in it or is it.",
                "bind_mount: db mounts /run/docker.sock/..",
            ],
        ),
        (bind("srv/web"), &["bind_mount: db mounts srv/web."]),
    ] {
        assert_eq!(found(&change, &policy()), wanted, "{change}");
    }
}

#[test]
fn levels_are_set_by_rule_and_what_is_off_is_not_asked() {
    let privileged = RuleName::parse("privileged").expect("a rule");
    for level in Level::ALL {
        let policy = Policy { levels: BTreeMap::from([(privileged, level)]), ..policy() };
        assert_eq!(found(&json!({ "privileged": true }), &policy).is_empty(), level == Level::Off);
        let config = json!({ "services": { "db": { "privileged": true } } });
        let stack = Stack { config: &config, active: &["db"], pinned: &["db"], devices: &BTreeMap::new() };
        let levels: Vec<Level> = judge(&stack, &policy).iter().map(|finding| finding.level).collect();
        assert_eq!(levels.first().copied().filter(|first| *first != Level::Note), Some(level).filter(|level| *level > Level::Note));
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("source|type|name|file", inner, 0..3).prop_map(|map| map.into_iter().collect())
        ]
    })
}

proptest! {
    #[test]
    fn any_configuration_does_no_harm(key in "volumes|ports|labels|networks|deploy|devices|cap_add|image|secrets", value in any_value()) {
        found(&json!({ key: value }), &policy());
        let devices = BTreeMap::new();
        let _ = judge(&Stack { config: &value, active: &["db"], pinned: &[], devices: &devices }, &policy());
    }
}
