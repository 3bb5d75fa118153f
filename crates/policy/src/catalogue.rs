//! The catalogue: every rule in one entry, in the order in which findings are shown. The table in `docs/policy.md` is made from it.

use text::nearest;
use text::without_controls;

use crate::each;
use crate::name::RuleName;
use crate::policy::Policy;
use crate::service::Service;

/// A rule: the same name in configuration, journal and documentation.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it finds, as one sentence.
    pub finds: &'static str,
    /// What to change, as one sentence.
    pub fix: &'static str,
    /// What it finds in a service, as the words behind its name.
    pub(crate) judge: fn(&Service<'_>, &Policy) -> Vec<String>,
}

impl RuleName {
    /// The rule of this name.
    ///
    /// # Errors
    /// There is none; the sentence names the one that is most likely meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        RULES.iter().position(|rule| rule.name == text).map(Self).ok_or_else(|| {
            let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
            let hint = nearest(names.iter().copied(), text).map(|near| format!("did you mean {near}?"));
            let hint = hint.unwrap_or_else(|| format!("the rules are {}.", names.join(", ")));
            format!("there is no rule \"{}\"; {hint}", without_controls(text))
        })
    }

    /// The rule of this name.
    #[must_use]
    pub fn rule(self) -> &'static Rule {
        &RULES[self.0]
    }

    /// The names of all rules, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..RULES.len()).map(Self)
    }
}

/// Every rule, in the order in which findings are shown.
#[must_use]
pub fn rules() -> &'static [Rule] {
    &RULES
}

const fn rule(name: &'static str, judge: fn(&Service<'_>, &Policy) -> Vec<String>, finds: &'static str, fix: &'static str) -> Rule {
    Rule { name, finds, fix, judge }
}

#[rustfmt::skip]
const RULES: [Rule; 14] = [
    rule("privileged", each::privileged, "A container or one of its hooks is privileged, so it may do everything that root of the host may.", "Give it the capabilities and devices that it needs, instead of all."),
    rule("docker_socket", each::docker_socket, "A container can reach the socket of Docker, by which it may do everything that root of the host may.", "Put a proxy in front of the socket that lets only some calls through, or do without."),
    rule("host_network", each::host_network, "A container is in the network of the host, or of a container outside the stack, so it reaches what listens on its loopback address.", "Publish the ports that it serves."),
    rule("host_pid", each::host_pid, "A container sees the processes of the host, or of a container outside the stack, and may end them.", "Remove pid: host or container."),
    rule("host_namespace", each::host_namespace, "A container shares the host's memory segments, name, users or control groups, or the memory segments of a container outside the stack.", "Remove ipc, uts, userns_mode or cgroup: host, and ipc: container."),
    rule("capabilities", each::capabilities, "A container has a capability added that is not among `capabilities`.", "Remove it from cap_add, or name it in capabilities of the policy."),
    rule("unconfined", each::unconfined, "A container is let off the host's confinement (seccomp, AppArmor, SELinux).", "Remove it from security_opt, or write a profile that allows what is needed."),
    rule("devices", each::devices, "A container has a device of the host.", "Remove it from devices and device_cgroup_rules."),
    rule("bind_mount", each::bind_mount, "A folder or file of the host is mounted that is neither in the stack's folder nor in one of `folders`, or all that a container outside the stack has mounted.", "Move it below the stack's folder, use a named volume, or name its folder in folders of the policy."),
    rule("published_port", each::published_port, "A port is published on other addresses than the loopback address, and is not among `ports`.", "Publish it on 127.0.0.1 for a proxy on the host, or name it in ports of the policy."),
    rule("memory_limit", each::memory_limit, "A service has no memory limit, so that it can take the memory of all others.", "Set mem_limit, or deploy.resources.limits.memory."),
    rule("labels", each::labels, "A service lacks a label that `labels` asks for.", "Add the label to the service."),
    rule("foreign_image", each::foreign_image, "An image is of a repository that is not among `repositories`.", "Use an image of these repositories, or name its repository in the policy."),
    rule("unpinned_image", each::unpinned_image, "An image beside the pinned ones is named by its tag alone, so it may be another one tomorrow.", "Write its digest behind the tag: image: postgres:17@sha256:…"),
];
