//! Who is carried out when more waits than may run at a time (`max_running`): in the order in which services came to wait, so that
//! a service that is ordered again and again neither loses its place nor takes another's.

use std::collections::BTreeMap;

use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::store::Next;

/// The services that wait for a place.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The number of the last service that came to wait.
    last: u64,
    line: BTreeMap<ServiceName, Waits>,
}

/// A service that waits.
#[derive(Debug)]
struct Waits {
    /// Lower ones came before.
    number: u64,
    /// The order that was told so.
    told_order: Option<DeploymentId>,
    /// Why it waits.
    why: String,
}

/// What is to be done about those who wait.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// The orders that are carried out now.
    pub(super) now: Vec<Next>,
    /// The orders that wait on and have not been told yet; and why they do.
    pub(super) to_tell: Vec<(DeploymentId, String)>,
}

impl Places {
    /// Gives away what is `free` of `most` places among `next`. A rollback needs none: an operator waits behind nobody.
    pub(super) fn give(&mut self, mut next: Vec<Next>, free: usize, most: usize) -> Chosen {
        self.line.retain(|service, _| next.iter().any(|one| one.service == *service));
        next.sort_by(|a, b| a.id.cmp(&b.id));
        for one in &next {
            self.line.entry(one.service.clone()).or_insert_with(|| {
                self.last += 1;
                Waits { number: self.last, told_order: None, why: String::new() }
            });
        }
        let (rollbacks, mut others): (Vec<Next>, Vec<Next>) = next.into_iter().partition(|one| one.kind == OrderKind::Rollback);
        others.sort_by_key(|one| self.line.get(&one.service).map_or(u64::MAX, |waits| waits.number));
        let waiting = others.split_off(free.min(others.len()));
        let mut chosen = Chosen { now: rollbacks.into_iter().chain(others).collect(), to_tell: Vec::new() };
        for one in &chosen.now {
            self.line.remove(&one.service);
        }
        for (before, one) in waiting.into_iter().enumerate() {
            let Some(waits) = self.line.get_mut(&one.service) else { continue };
            waits.why = why(before, most);
            if waits.told_order.as_ref() != Some(&one.id) {
                chosen.to_tell.push((one.id.clone(), waits.why.clone()));
                waits.told_order = Some(one.id);
            }
        }
        chosen
    }

    /// Why the order of `service` waits; none: not for a place.
    pub(super) fn why(&self, service: &ServiceName) -> Option<String> {
        self.line.get(service).map(|waits| waits.why.clone()).filter(|why| !why.is_empty())
    }
}

fn why(before: usize, most: usize) -> String {
    let places = if most == 1 { "The one place is".to_owned() } else { format!("All {most} places are") };
    let others = match before {
        0 => "it is the next one".to_owned(),
        1 => "one order is before it".to_owned(),
        many => format!("{many} orders are before it"),
    };
    format!("{places} taken (server.max_running), so it waits for its turn; {others}.")
}

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::model::DeploymentId;
    use crate::model::OrderKind;
    use crate::model::ServiceName;
    use crate::store::Next;

    fn next(number: u32, service: &str, kind: OrderKind) -> Next {
        let id: DeploymentId = format!("010000000000000000000000{number:02}").parse().expect("an id");
        Next { id, service: ServiceName::parse(service).expect("a name"), kind, granted_ms: None, granted_until_ms: None }
    }

    fn deploy(number: u32, service: &str) -> Next {
        next(number, service, OrderKind::Deploy)
    }

    fn now(places: &mut Places, waiting: Vec<Next>, free: usize) -> Vec<String> {
        places.give(waiting, free, 2).now.iter().map(|one| one.service.to_string()).collect()
    }

    #[test]
    fn who_came_first_is_first_and_keeps_its_place_when_it_is_ordered_again() {
        let mut places = Places::default();
        assert_eq!(now(&mut places, vec![deploy(2, "b"), deploy(1, "c"), deploy(3, "a")], 1), ["c"]);
        // `b` was ordered anew meanwhile, and `c` as well, which has had its turn.
        let waiting = || vec![deploy(7, "b"), deploy(3, "a"), deploy(6, "c")];
        assert_eq!(now(&mut places, waiting(), 0), Vec::<String>::new());
        assert_eq!(now(&mut places, waiting(), 2), ["b", "a"]);
        assert_eq!(now(&mut places, vec![deploy(6, "c")], 2), ["c"]);
    }

    #[test]
    fn a_rollback_waits_behind_nobody() {
        let mut places = Places::default();
        assert_eq!(now(&mut places, vec![deploy(1, "a"), next(9, "z", OrderKind::Rollback), deploy(2, "b")], 0), ["z"]);
    }

    #[test]
    fn whoever_waits_is_told_once_and_is_shown_why() {
        let mut places = Places::default();
        let waiting = || vec![deploy(1, "a"), deploy(2, "b")];
        let to_tell = places.give(waiting(), 0, 2).to_tell;
        assert_eq!(to_tell.len(), 2);
        assert_eq!(to_tell[1].1, "All 2 places are taken (server.max_running), so it waits for its turn; one order is before it.");
        assert_eq!(places.give(waiting(), 0, 2).to_tell, Vec::new());
        let again = places.give(vec![deploy(1, "a"), deploy(3, "b")], 0, 2).to_tell;
        assert_eq!(again.len(), 1, "the one that took its place is told");
        assert!(places.why(&ServiceName::parse("a").expect("a name")).is_some_and(|why| why.ends_with("it is the next one.")));
        assert_eq!(places.why(&ServiceName::parse("c").expect("a name")), None);
    }
}
