//! Freezes: when CI may not change services, and which ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use calendar::Dates;
use calendar::Plan;
use calendar::Weekly;
use calendar::Zone;

use crate::config::Service;
use crate::config::reader::Section;
use crate::model::KeyId;
use crate::model::ServiceName;

/// Times at which services are left as they are.
#[derive(Debug, Clone)]
pub struct Freeze {
    /// Its name.
    pub id: KeyId,
    /// When it is in force, without its holidays.
    pub plan: Plan,
    /// The file with its holidays, and the zone of those that name none.
    pub holidays: Option<(PathBuf, Zone)>,
    /// Whether an order waits until it is over; otherwise it is refused.
    pub waits: bool,
    /// The services that it is for.
    services: Vec<ServiceName>,
    /// The environments that it is for; no services and no environments: all services.
    environments: Vec<String>,
}

impl Freeze {
    /// Whether the service is left as it is while it is in force.
    #[must_use]
    pub fn is_for(&self, service: &Service) -> bool {
        let is_for_all = self.services.is_empty() && self.environments.is_empty();
        let is_in = |environment: &str| self.environments.iter().any(|named| named == environment);
        is_for_all || self.services.contains(&service.name) || service.source.as_ref().is_some_and(|source| is_in(&source.environment))
    }

    fn read(mut from: Section) -> Option<Self> {
        let id = from.needed("id", "a freeze needs an id, by which refused orders name it.", KeyId::parse);
        let has_zone = from.has("zone");
        let has_times = from.has_any(&["weekly", "dates", "holidays_file"]);
        let is_only_empty = ["weekly", "dates"].into_iter().all(|key| !from.has(key) || from.is_empty_list(key));
        // What is wrong with the zone is not said once more for each time in it.
        let zone = from.parsed("zone", Zone::parse).or_else(|| has_zone.then(Zone::utc));
        let weekly = from.list("weekly", |text| Weekly::parse(text, zone.as_ref()));
        let dates = from.list("dates", |text| Dates::parse(text, zone.as_ref()));
        let file = from.path("holidays_file");
        if file.is_some() && zone.is_none() {
            from.problem("zone", "holidays are days of a time zone; add zone = \"Europe/Paris\".");
        }
        if !has_times || (weekly.is_empty() && dates.is_empty() && file.is_none() && is_only_empty) {
            from.problem("weekly", "the freeze is never in force; set weekly, dates or holidays_file.");
        }
        let waits = from.choice("on_freeze", &[("refuse", false), ("wait", true)]);
        for key in ["services", "environments"] {
            if from.is_empty_list(key) {
                from.problem(key, "an empty list would be for no service; name some, or leave the key out for all.");
            }
        }
        let services = from.list("services", ServiceName::parse);
        let environments = from.list("environments", |text| Ok::<_, String>(text.to_owned()));
        from.finish();
        let plan = Plan { weekly, dates, events: Vec::new() };
        Some(Self { id: id?, plan, holidays: file.zip(zone), waits, services, environments })
    }
}

/// Reads `[[freeze]]`; every service and environment that is named is there.
pub(super) fn read_freezes(root: &mut Section, services: &BTreeMap<ServiceName, Arc<Service>>) -> Vec<Freeze> {
    let freezes: Vec<Freeze> = root.sections("freeze").into_iter().filter_map(Freeze::read).collect();
    for (at, freeze) in freezes.iter().enumerate() {
        let id = &freeze.id;
        if freezes[..at].iter().any(|earlier| earlier.id == *id) {
            root.problem("freeze", format!("two freezes have the id {id}; refused orders name a freeze by its id, so each needs its own."));
        }
        for name in freeze.services.iter().filter(|name| !services.contains_key(*name)) {
            root.problem("freeze", format!("{id} is for the service {name}, but there is no [service.{name}]."));
        }
        let is_there =
            |named: &str| services.values().filter_map(|service| service.source.as_ref()).any(|source| source.environment == named);
        for named in freeze.environments.iter().filter(|named| !is_there(named)) {
            let why = "no service has it as environment in its source";
            root.problem("freeze", format!("{id} is for the environment \"{}\", but {why}.", named.escape_default()));
        }
    }
    freezes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const HEAD: &str = "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"\"\n";

    fn service(name: &str, environment: &str) -> String {
        let source =
            format!("source = {{ forge = \"hub\", repository = \"acme/{name}\", report = false, environment = \"{environment}\" }}");
        format!("[service.{name}]\ndir = \"/srv/{name}\"\nproject = \"{name}\"\nimage = \"a.example/{name}\"\n{source}\n")
    }

    fn read(freezes: &str) -> Result<Config, Vec<String>> {
        let forge = "[[forge]]\nid = \"hub\"\nkind = \"github\"\n";
        let text = format!("{HEAD}{forge}{}{}{freezes}\n", service("web", "production"), service("db", "production"));
        Config::read(&text, Path::new("x.toml"), Path::new("/etc")).map_err(|error| error.problems)
    }

    #[test]
    fn a_freeze_is_for_the_services_and_environments_that_it_names() {
        let freeze = |id: &str, lines: &str| format!("[[freeze]]\nid = \"{id}\"\nzone = \"UTC\"\nweekly = [\"Sat\"]\n{lines}\n");
        let all = [
            freeze("a", ""),
            freeze("b", "services = [\"db\"]"),
            freeze("c", "environments = [\"production\"]\nholidays_file = \"x.ics\""),
        ];
        let config = read(&all.concat()).expect("no problem");
        let of = |name: &str| {
            let service = config.services.values().find(|service| service.name.as_str() == name).expect("a service");
            config.freezes_of(service).map(|freeze| freeze.id.as_str()).collect::<String>()
        };
        assert_eq!((of("web").as_str(), of("db").as_str()), ("ac", "abc"));
        let file = config.freezes[2].holidays.as_ref().map(|(file, _)| file.as_path());
        assert_eq!(file, Some(Path::new("/etc/x.ics")), "it need not be there for the server to start");
    }

    #[test]
    fn what_is_wrong_with_a_freeze_is_said() {
        let zone = "id = \"a\"\nzone = \"Europe/Paris\"";
        for (lines, part) in [
            ("zone = \"UTC\"\nweekly = [\"Sat\"]".to_owned(), "freeze[0].id: a freeze needs an id"),
            (zone.to_owned(), "freeze[0].weekly: the freeze is never in force"),
            (format!("{zone}\nweekly = []"), "freeze[0].weekly: the freeze is never in force"),
            ("id = \"a\"\nzone = \"Europe/Pari\"\nweekly = [\"Sat\"]".to_owned(), "did you mean Europe/Paris?"),
            ("id = \"a\"\nweekly = [\"Sat\"]".to_owned(), "freeze[0].weekly: \"Sat\": no time zone is named"),
            ("id = \"a\"\nholidays_file = \"x.ics\"".to_owned(), "freeze[0].zone: holidays are days of a time zone"),
            (format!("{zone}\nweekly = [\"Fri 16:00\"]"), "freeze[0].weekly: \"Fri 16:00\" is not a time of the week"),
            (format!("{zone}\ndates = [\"2026-13-01\"]"), "freeze[0].dates: \"2026-13-01\" is not a date"),
            (format!("{zone}\nweekly = [\"Sat\"]\non_freeze = \"pass\""), "\"pass\" is not one of refuse, wait"),
            (format!("{zone}\nweekly = [\"Sat\"]\nservices = [\"shop\"]"), "a is for the service shop, but there is no [service.shop]"),
            (format!("{zone}\nweekly = [\"Sat\"]\nservices = []"), "freeze[0].services: an empty list would be for no service"),
            (format!("{zone}\nweekly = [\"Sat\"]\nenvironments = [\"prod\"]"), "no service has it as environment"),
            (format!("{zone}\nweekly = [\"Sat\"]\n[[freeze]]\n{zone}\nweekly = [\"Sun\"]"), "two freezes have the id a"),
            (format!("{zone}\nweekly = [\"Sat\"]\nholidays = \"x.ics\""), "freeze[0].holidays: unknown key; did you mean holidays_file?"),
        ] {
            let problems = read(&format!("[[freeze]]\n{lines}")).err().unwrap_or_default();
            assert!(problems.len() == 1 && problems[0].contains(part), "{lines}: {problems:#?}");
        }
    }
}
