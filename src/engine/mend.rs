//! Finishing what a `docker compose up` left half done when it was killed.
//!
//! To replace a container, compose makes the new one as `<first 12 digits of the old id>_NAME`, stops and removes the old
//! one, and gives the new one its `NAME`. Killed between, it leaves the new one under the first name, and its own next `up`
//! starts it so: nothing that reaches the service by container name finds it any more.

use crate::engine::compose::Compose;
use crate::engine::compose::QUESTION;
use crate::engine::containers::Container;
use crate::engine::error::EngineError;
use crate::process::Cancel;
use crate::process::Stream;

/// What is to be done with a container under compose's temporary name.
#[derive(Debug, PartialEq, Eq)]
enum Mend<'a> {
    /// The old one is gone: the new one gets the name it was made for.
    Rename { id: &'a str, to: &'a str },
    /// The old one is still there, so the new one never ran: it goes, and `up` begins again.
    Remove { id: &'a str, name: &'a str },
}

impl Compose {
    /// Afterwards no container in `there` of the services `touched` has a temporary name of compose. Whether there was one.
    ///
    /// # Errors
    /// When Docker does not answer or refuses.
    pub(super) async fn mend(
        &self,
        touched: &[&str],
        there: &[Container],
        cancel: &Cancel,
        each: &mut impl FnMut(Stream, String),
    ) -> Result<bool, EngineError> {
        let mends = mends(touched, there);
        for mend in &mends {
            let (line, args) = match mend {
                Mend::Rename { id, to } => {
                    (format!("{to} gets its name back: compose was ended while it replaced it"), vec!["rename", id, to])
                }
                Mend::Remove { id, name } => {
                    (format!("{name} is removed: compose was ended before it could take over"), vec!["rm", "-f", id])
                }
            };
            each(Stream::Out, line);
            self.ask(&self.docker_command(args, QUESTION), "mending what compose left half done", cancel).await?;
        }
        Ok(!mends.is_empty())
    }
}

fn mends<'a>(touched: &[&str], there: &'a [Container]) -> Vec<Mend<'a>> {
    let left = there.iter().filter(|container| touched.contains(&container.service.as_str()) && container.is_replacement);
    left.filter_map(|container| {
        let to = meant_name(&container.name)?;
        match there.iter().any(|other| other.name == to) {
            // What runs is never removed: Docker itself keeps two containers from one name.
            true if container.state == "running" => None,
            true => Some(Mend::Remove { id: &container.id, name: &container.name }),
            false => Some(Mend::Rename { id: &container.id, to }),
        }
    })
    .collect()
}

/// The `NAME` in `<12 hex digits>_NAME`.
fn meant_name(name: &str) -> Option<&str> {
    let (id, meant) = name.split_once('_')?;
    (id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !meant.is_empty()).then_some(meant)
}

#[cfg(test)]
mod tests {
    use crate::engine::containers::tests::container;
    use crate::engine::mend::Mend;
    use crate::engine::mend::mends;

    #[test]
    fn a_replacement_under_its_first_name_is_found() {
        let old = container("web", "running", 0);
        let mut new = container("web", "created", 0);
        (new.id, new.name, new.is_replacement) = ("new".into(), format!("0123456789ab_{}", old.name), true);
        assert_eq!(mends(&["web"], &[old.clone(), new.clone()]), [Mend::Remove { id: "new", name: &new.name }]);
        assert_eq!(mends(&["web"], std::slice::from_ref(&new)), [Mend::Rename { id: "new", to: &old.name }]);
        assert_eq!(mends(&["db"], std::slice::from_ref(&new)), []);
        new.state = "running".into();
        assert_eq!(mends(&["web"], &[old.clone(), new.clone()]), []);
        new.is_replacement = false;
        assert_eq!(mends(&["web"], &[new]), []);
        let done = crate::engine::containers::Container { is_replacement: true, ..old };
        assert_eq!(mends(&["web"], &[done]), []);
    }
}
