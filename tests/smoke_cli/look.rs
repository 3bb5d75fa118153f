//! What is looked at, and what is refused.

use serde_json::Value;

use crate::site::GOOD;
use crate::site::Site;
use crate::site::err;
use crate::site::out;
use crate::site::run;

#[test]
fn a_good_page_passes() {
    let site = Site::new(GOOD);
    let looked = site.look(&["--release", "1f0c9e2", "--release-text", "--body", "release [0-9a-f]+"]);
    let said = out(&looked);
    assert_eq!(looked.status.code(), Some(0), "{said}{}", err(&looked));
    assert!(said.contains("status 200") && said.contains(", valid for ") && said.ends_with("✓ the page passes\n"), "{said}");
    let old = site.look(&["--release", "2a7d410", "--release-text", "--json"]);
    let report: Value = serde_json::from_str(&out(&old)).unwrap();
    assert_eq!((old.status.code(), &report["findings"][0]["rule"]), (Some(3), &"release".into()), "{report:#}");
}

#[test]
fn bad_input_is_one_sentence() {
    let site = Site::new(GOOD);
    let missing = site.path("none.toml").display().to_string();
    for (args, code, said) in [
        (vec!["smoke", "ftp://x/"], 2, "it must begin with https:// or http://, not ftp:"),
        (vec!["smoke", "https://u:p@x/"], 2, "an address must not contain a credential"),
        (vec!["smoke", "https://x/", "--within-s", "99999"], 2, "it must be 0 to 3600 seconds"),
        (vec!["smoke", "https://x/", "--body", "("], 2, "body: "),
        (vec!["smoke", "https://x/", "--release", "1"], 2, "give --release TAG and where the page shows it"),
        (vec!["smoke", "https://x/", "--output", "pdf=x"], 2, "there is no format pdf; choose one of human, json, junit"),
        (vec!["smoke", "https://x/", "--header", "X"], 2, "write NAME: VALUE"),
        (vec!["smoke", "https://x/", "--rule", "headers=off"], 2, "there is no rule \"headers\"; did you mean header?"),
        (vec!["smoke", "https://x/", "--rule", "body=loud"], 2, "must be off, note, warning or error"),
        (vec!["smoke", "https://x/", "--rule", "setup=off"], 2, "setup cannot be off"),
        (vec!["smoke", "https://x/", "--rule", "body"], 2, "write NAME=VALUE"),
        (vec!["smoke", "https://x/", "--rule", "body=off", "--rule", "body=note"], 2, "--rule gives body twice"),
        (vec!["smoke", "https://x/", "--expect-json", "status=ok"], 2, "\"status\" is not a JSON pointer"),
        (vec!["smoke", "https://x/", "--http-version", "3"], 2, "\"3\" is not one of any, 1.1, 2"),
        (vec!["smoke", "https://x/", "--samples", "0"], 2, "0 is out of range: it must be 1 to 20"),
        (vec!["smoke", "https://x/", "--allowed-host", "https://x"], 2, "\"https://x\" is not a host"),
        (vec!["smoke", "https://x/", "--no-fetch-assets", "--concurrency", "2"], 2, "cannot be used with"),
        (vec!["smoke", "--service", "web", "--config", &missing], 1, "it cannot be read"),
        (vec!["smoke", "--explain", "latencies"], 2, "there is no rule \"latencies\"; `tagalong smoke --explain` lists them all."),
        (vec!["smoke", "--explain", "block_asset"], 2, "there is no rule \"block_asset\"; did you mean blocked_asset?"),
        (vec!["smoke"], 2, "<PAGE>"),
        (vec!["smoke", "example.com"], 2, "write https://example.com"),
        (vec!["smoke", "example.com:8443/de"], 2, "write https://example.com:8443/de"),
        (vec!["smoke", "localhost"], 2, "write https://localhost"),
        (vec!["smoke", "mailto:a@example.com"], 2, "it must begin with https:// or http://, not mailto:"),
        (vec!["smoke", "https://x/", "--connect-to", "bad"], 2, "\"bad\" is not a place to connect to: write HOST:PORT"),
        (vec!["smoke", "https://x/", "--connect-to", "bad:0"], 2, "write HOST:PORT"),
        (vec!["smoke", "https://x/", "--user", "me"], 2, "needs a password as well: set password_file or password_env"),
    ] {
        let refused = run(&args, &[]);
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {}", err(&refused));
        assert!(err(&refused).contains(said) && out(&refused).is_empty(), "{args:?}: {}", err(&refused));
    }
}

#[test]
fn every_rule_is_explained() {
    let all = out(&run(&["smoke", "--explain"], &[]));
    for rule in smoke::rules() {
        let one = out(&run(&["smoke", "--explain", rule.name], &[]));
        assert!(one.contains(rule.meaning) && one.contains(rule.fix), "{one}");
        assert!(all.contains(&one), "{}", rule.name);
    }
}

#[test]
fn a_service_is_looked_at_as_configured() {
    let site = Site::new(GOOD);
    let text = format!(
        "version = 1\n[server]\nlisten = []\nsocket = \"s\"\ndata_dir = \"d\"\n[service.web]\ndir = \"stack\"\nproject = \"web\"\nimage = \"acme/web\"\n\
         variable = \"T\"\n[service.web.smoke]\nurl = \"https://localhost:{}/\"\nca_file = \"ca.pem\"\nwithin_s = 1\nbody = \"release\"\n",
        site.port
    );
    let config = site.path("tagalong.toml");
    std::fs::create_dir(site.path("stack")).unwrap();
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let looked = run(&["smoke", "--service", "web", "--config", &config], &[]);
    assert_eq!(looked.status.code(), Some(0), "{}{}", out(&looked), err(&looked));
    let both = run(&["smoke", "--service", "web", "--config", &config, "--body", "x", "--rule", "body=off"], &[]);
    assert!(err(&both).contains("remove --body, --rule."), "{}", err(&both));
    let none = run(&["smoke", "--service", "db", "--config", &config], &[]);
    assert!(err(&none).contains("There is no service db"), "{}", err(&none));
}

fn report(looked: &std::process::Output) -> Value {
    serde_json::from_str(&out(looked)).unwrap_or_else(|error| panic!("{error}: {}{}", out(looked), err(looked)))
}

#[test]
fn rules_are_as_bad_as_the_flags_say() {
    let site =
        Site::new("<!doctype html><title>x</title><link rel=stylesheet href=http://a.test/a.css><form action=http://a.test/f></form>");
    let look = |rules: &[&str]| {
        let looked = site.look(&[&["--json", "--no-fetch-assets"], rules].concat());
        let report = report(&looked);
        let findings = report["findings"].as_array().unwrap().iter();
        let said = findings.map(|finding| format!("{} {}", finding["severity"].as_str().unwrap(), finding["rule"].as_str().unwrap()));
        (looked.status.code().unwrap(), said.collect::<Vec<_>>(), report["attempts"].as_u64().unwrap())
    };
    let said = |findings: &[&str]| findings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(look(&[]), (3, said(&["error blocked_asset", "warning insecure_form"]), 2));
    assert_eq!(look(&["--rule", "blocked_asset=warning"]), (0, said(&["warning blocked_asset", "warning insecure_form"]), 1));
    assert_eq!(look(&["--rule", "blocked_asset=off", "--rule", "insecure_form=note"]), (0, said(&["note insecure_form"]), 1));
    let (code, findings, _) = look(&["--rule", "blocked_asset=note", "--rule", "insecure_form=error"]);
    assert_eq!((code, findings), (3, said(&["error insecure_form", "note blocked_asset"])));
}

#[test]
fn a_page_that_nobody_saw_never_passes() {
    let looked = run(&["smoke", "http://127.0.0.1:1/", "--within-s", "0", "--rule", "unreachable=off", "--json"], &[]);
    assert_eq!((looked.status.code(), &report(&looked)["findings"][0]["rule"]), (Some(3), &"unreachable".into()));
}

#[test]
fn the_page_is_asked_as_often_as_the_flag_says() {
    for (flags, times) in [(&[][..], 3), (&["--samples", "1"], 1), (&["--samples", "5"], 5)] {
        let site = Site::new(GOOD);
        let looked = site.look(&[&["--json", "--no-fetch-assets"], flags].concat());
        assert_eq!(looked.status.code(), Some(0), "{}{}", out(&looked), err(&looked));
        assert_eq!(site.requests.lock().unwrap().len(), times, "{flags:?}");
    }
}

#[test]
fn demands_are_flags() {
    let site = Site::new("{\"status\":\"ok\"}");
    let good =
        ["--expect-json", "/status=^ok$", "--min-body-bytes", "15", "--max-latency-ms", "600000", "--http-version", "1.1", "--no-assets"];
    let looked = site.look(&good);
    assert_eq!(looked.status.code(), Some(0), "{}{}", out(&looked), err(&looked));
    let wrong = site.look(&["--json", "--no-assets", "--expect-json", "/status=^up$", "--min-body-bytes", "16", "--http-version", "2"]);
    let report = report(&wrong);
    let mut rules: Vec<&str> = report["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect();
    rules.sort_unstable();
    assert_eq!((wrong.status.code(), rules), (Some(3), vec!["body_size", "http_version", "json"]));
}

/// In a mount namespace of its own the name stands for both kinds of address, whatever this machine's own file says.
#[test]
fn the_kind_of_address_that_takes_no_connection_is_named() {
    let look = |site: &Site| {
        std::fs::write(site.path("hosts"), "127.0.0.1 localhost\n::1 localhost\n").unwrap();
        let (page, at) = (format!("https://localhost:{}/", site.port), |name: &str| site.path(name).display().to_string());
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, &at("hosts"), env!("CARGO_BIN_EXE_tagalong")]);
        report(&command.args(["smoke", &page, "--json", "--no-fetch-assets", "--ca-file", &at("ca.pem")]).output().unwrap())
    };
    let both = look(&Site::new(GOOD));
    assert_eq!(both["findings"], Value::Array(Vec::new()), "{both:#}");
    let one = look(&Site::over_ipv4(GOOD));
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // Without IPv6 nothing is known of it.
        assert_eq!(one["findings"], Value::Array(Vec::new()), "{one:#}");
        return;
    }
    let finding = &one["findings"][0];
    assert_eq!((&finding["rule"], &finding["severity"]), (&"address_family".into(), &"note".into()), "{one:#}");
    assert!(finding["message"].as_str().unwrap().contains("resolves to 127.0.0.1 and ::1, but connecting to ::1 (IPv6) failed"), "{one:#}");
}
