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
    assert!(said.contains("status 200") && said.contains(" days left") && said.ends_with("✓ the page passes\n"), "{said}");
    let old = site.look(&["--release", "2a7d410", "--release-text", "--json"]);
    let report: Value = serde_json::from_str(&out(&old)).unwrap();
    assert_eq!((old.status.code(), &report["findings"][0]["rule"]), (Some(3), &"release".into()), "{report:#}");
}

#[test]
fn bad_input_is_one_sentence() {
    let site = Site::new(GOOD);
    let missing = site.path("none.toml").display().to_string();
    for (args, code, said) in [
        (vec!["smoke", "ftp://x/"], 1, "it must begin with https:// or http://, not ftp:"),
        (vec!["smoke", "https://u:p@x/"], 1, "no credential belongs into an address"),
        (vec!["smoke", "https://x/", "--within-s", "99999"], 1, "it must be 0 to 3600 seconds"),
        (vec!["smoke", "https://x/", "--body", "("], 1, "body: "),
        (vec!["smoke", "https://x/", "--release", "1"], 1, "give --release TAG and where the page shows it"),
        (vec!["smoke", "https://x/", "--output", "pdf=x"], 2, "there is no format pdf; it is human, json, junit"),
        (vec!["smoke", "https://x/", "--header", "X"], 2, "write NAME: VALUE"),
        (vec!["smoke", "--service", "web", "--config", &missing], 1, "it cannot be read"),
        (vec!["smoke", "--explain", "nope"], 1, "There is no rule nope; the rules are "),
        (vec!["smoke"], 2, "<PAGE>"),
    ] {
        let refused = run(&args, &[]);
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {}", err(&refused));
        assert!(err(&refused).contains(said) && out(&refused).is_empty(), "{args:?}: {}", err(&refused));
    }
}

#[test]
fn every_rule_is_explained() {
    let all = out(&run(&["smoke", "--explain"], &[]));
    for rule in tagalong::smoke::rules() {
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
    let both = run(&["smoke", "--service", "web", "--config", &config, "--body", "x"], &[]);
    assert!(err(&both).contains("leave out --body"), "{}", err(&both));
    let none = run(&["smoke", "--service", "db", "--config", &config], &[]);
    assert!(err(&none).contains("There is no service db"), "{}", err(&none));
}
