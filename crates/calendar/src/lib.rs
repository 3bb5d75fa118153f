//! Times of the week, dates and iCalendar files in time zones: whether a moment is among them, and until when.
//!
//! Nothing here reads a clock or a file. Time zones are those that are compiled in, so that a host without zone data, or with an old one,
//! judges as every other. A boundary that a change of the clocks makes come twice, or never, is taken such that the stretch is the longer
//! one.

mod dates;
mod event;
mod ical;
mod line;
mod plan;
mod rule;
mod stretch;
mod weekly;
mod written;
mod zone;

pub use dates::Dates;
pub use event::Event;
pub use ical::{MOST_BYTES, read};
pub use plan::{Plan, Seen};
pub use stretch::Stretch;
pub use weekly::Weekly;
pub use zone::{Zone, zone_data};
