//! One round of all assets: asks for each once, reads the style sheets that come, and asks for what they name in turn.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;

use encoding_rs::Encoding;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use crate::assets::Flaw;
use crate::assets::Got;
use crate::assets::Tally;
use crate::assets::Wanted;
use crate::assets::courier::Courier;
use crate::assets::courier::Missed;
use crate::assets::imports::Imports;
use crate::assets::imports::Link;
use crate::assets::judge;
use crate::catalogue;
use crate::mixed;
use crate::page;
use crate::page::Asset;
use crate::page::AssetKind;
use crate::page::Styles;
use crate::page::When;
use crate::plan::FetchPlan;
use crate::plan::RuleLevels;
use crate::report::Severity;
use crate::rules;

/// A page that asks for more is not looked at to its end.
const MOST_REQUESTS: usize = 25_000;
/// Sheets larger than this are read beside the runtime, whose other tasks should not wait.
const LARGE_SHEET_BYTES: usize = 128 << 10;
/// This many hosts that were not asked are named.
const NAMED: usize = 5;

/// The round.
pub(super) struct Round<'a> {
    page: &'a Url,
    plan: &'a FetchPlan,
    /// The page's encoding, in which sheets are written that do not say theirs.
    encoding: &'static Encoding,
    styles: Styles,
    courier: Arc<Courier>,
    memory: Memory,
    queue: VecDeque<Wanted>,
    /// The sheets whose contents were taken in this round.
    entered: HashSet<Wanted>,
    /// How many requests may be under way: fewer when a host says that it is asked too much.
    width: usize,
    /// How many addresses each host that was not asked has.
    elsewhere: BTreeMap<String, u32>,
    /// What is wrong with fonts: how bad that is shows when every sheet was read.
    fonts: Vec<(Asset, Wanted, Flaw)>,
    /// The framed documents that are to be judged, and the frame of each.
    frames: Vec<(Arc<Got>, Asset)>,
    /// How many frames brought documents of other origins.
    foreign_frames: u32,
    /// Whether there were more than a round asks for.
    is_over_full: bool,
    /// How many assets there are, those of linked sheets included.
    pub(super) assets: u32,
    /// How many of them were asked for.
    pub(super) fetched: u32,
    /// What is not right.
    pub(super) tally: Tally<'a>,
}

/// What rounds of the same look know of each other: what came for one is not asked for again.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    known: HashMap<Wanted, State>,
    imports: Imports,
    /// The documents of frames that came.
    documents: HashMap<Wanted, Arc<Got>>,
    /// The values of sheets that may name a font.
    fonts: String,
}

impl Memory {
    /// What a document in a frame may know: sheets are read again with its own elements.
    pub(super) fn for_a_frame(&self) -> Self {
        let mut memory = self.clone();
        memory.known.retain(|wanted, _| wanted.kind != AssetKind::Style);
        memory
    }

    /// Takes what the round of a frame learned.
    pub(super) fn learn(&mut self, other: Self) {
        for (wanted, state) in other.known.into_iter().filter(|(wanted, _)| wanted.kind != AssetKind::Style) {
            self.known.entry(wanted).or_insert(state);
        }
        self.documents.extend(other.documents);
    }

    /// How much was asked for.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// What is known of something that is wanted.
#[derive(Debug, Clone)]
enum State {
    /// It is asked for, on behalf of these.
    Open(Vec<Asset>),
    /// It came or did not.
    Done(Done),
}

/// What became of something.
#[derive(Debug, Clone)]
struct Done {
    flaws: Vec<Flaw>,
    /// Whether it is a sheet that was only loaded ahead, and not read.
    is_unread: bool,
    /// What a sheet asks for.
    contents: Arc<[Asset]>,
}

type Brought = (Wanted, Result<Got, Missed>);

impl<'a> Round<'a> {
    /// Nothing is asked yet.
    pub(super) fn new(
        page: &'a Url,
        plan: &'a FetchPlan,
        courier: Courier,
        levels: &'a RuleLevels,
        (encoding, styles): (&'static Encoding, Styles),
    ) -> Self {
        Self {
            page,
            plan,
            encoding,
            styles,
            courier: Arc::new(courier),
            memory: Memory::default(),
            queue: VecDeque::new(),
            entered: HashSet::new(),
            width: plan.concurrency,
            elsewhere: BTreeMap::new(),
            fonts: Vec::new(),
            frames: Vec::new(),
            foreign_frames: 0,
            is_over_full: false,
            assets: 0,
            fetched: 0,
            tally: Tally::new(levels),
        }
    }

    /// Knows what an earlier round found.
    pub(super) fn recall(&mut self, memory: Memory) {
        self.fetched = memory.known.len() as u32;
        self.styles.name_fonts(&memory.fonts);
        self.memory = memory;
    }

    /// What a later round should know.
    pub(super) fn into_memory(mut self) -> (Tally<'a>, Memory, Vec<(Arc<Got>, Asset)>) {
        self.memory.fonts = self.styles.named_fonts().to_owned();
        self.memory.known.retain(|_, state| matches!(state, State::Done(_)));
        (self.tally, self.memory, self.frames)
    }

    /// Judges the asset's address, and puts it into the queue when it is to be asked for.
    pub(super) fn take(&mut self, asset: Asset) {
        self.assets += u32::from(!asset.kind.is_navigation());
        if let Some(finding) = mixed::finding(&asset, self.page) {
            self.tally.add(finding);
        }
        let Some(wanted) = Wanted::of(&asset, self.page, self.styles.is_quirky) else { return };
        match self.memory.imports.link(&asset, &wanted.url) {
            Link::Good => {}
            Link::Loop => return self.tally.add(rules::import_loop::finding(&asset)),
            Link::TooDeep => return self.tally.add(rules::import_loop::too_deep(&asset)),
        }
        if !self.courier.hosts.allows(&wanted.url) {
            return self.leave(&wanted.url);
        }
        match self.memory.known.get_mut(&wanted) {
            Some(State::Open(assets)) => assets.push(asset),
            Some(State::Done(done)) if !done.is_unread || asset.terms.is_ahead => {
                let done = done.clone();
                self.blame(&asset, &wanted, &done.flaws);
                self.frame(&wanted, &asset);
                if !asset.terms.is_ahead && !done.contents.is_empty() && self.entered.insert(wanted) {
                    done.contents.iter().for_each(|inner| self.take(inner.clone()));
                }
            }
            _ => self.ask(wanted, asset),
        }
    }

    /// A frame whose document came is judged once.
    fn frame(&mut self, wanted: &Wanted, asset: &Asset) {
        if let Some(got) = self.memory.documents.get(wanted)
            && self.entered.insert(wanted.clone())
        {
            self.frames.push((Arc::clone(got), asset.clone()));
        }
    }

    /// Asks until nothing is left to ask for, or the time is over.
    pub(super) async fn run(&mut self, until: Instant) {
        let mut under_way: JoinSet<Brought> = JoinSet::new();
        loop {
            while under_way.len() < self.width
                && let Some(wanted) = self.queue.pop_front()
            {
                let courier = Arc::clone(&self.courier);
                under_way.spawn(async move {
                    let brought = courier.bring(&wanted).await;
                    (wanted, brought)
                });
            }
            match tokio::time::timeout_at(until, under_way.join_next()).await {
                Ok(Some(brought)) => self.note(brought).await,
                Ok(None) => break,
                Err(_) => {
                    self.give_up(under_way.len() + self.queue.len());
                    break;
                }
            }
        }
        self.blame_fonts();
        self.say_what_is_left();
    }

    fn ask(&mut self, wanted: Wanted, asset: Asset) {
        if self.memory.known.len() >= MOST_REQUESTS {
            self.is_over_full = true;
            return;
        }
        self.queue.push_back(wanted.clone());
        self.memory.known.insert(wanted, State::Open(vec![asset]));
    }

    fn blame(&mut self, asset: &Asset, wanted: &Wanted, flaws: &[Flaw]) {
        for flaw in flaws {
            if asset.terms.face.is_some() {
                self.fonts.push((asset.clone(), wanted.clone(), flaw.clone()));
            } else {
                self.tally.add(flaw.finding(asset, wanted));
            }
        }
    }

    /// A font in which no text is shown is not asked for by browsers until some script shows some.
    fn blame_fonts(&mut self) {
        for (mut asset, wanted, flaw) in std::mem::take(&mut self.fonts) {
            if !asset.terms.face.as_ref().is_some_and(|face| self.styles.show(face)) {
                asset.when = When::Later;
            }
            self.tally.add(flaw.finding(&asset, &wanted));
        }
    }

    fn leave(&mut self, url: &Url) {
        let host = url.host_str().unwrap_or_default();
        let is_own = self.page.host_str() == Some(host);
        let port = url.port_or_known_default().filter(|_| is_own || url.port().is_some());
        let place = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        *self.elsewhere.entry(place).or_default() += 1;
    }

    async fn note(&mut self, brought: Result<Brought, JoinError>) {
        let Ok((wanted, brought)) = brought else {
            let message = "One asset could not be checked because of an error in the check itself.".to_owned();
            return self.tally.add(catalogue::NOT_CHECKED.finding(message));
        };
        let Some(State::Open(assets)) = self.memory.known.remove(&wanted) else { return };
        let (flaws, sheet) = match brought {
            Ok(got) => {
                if got.was_slowed {
                    self.width = (self.width / 2).max(1);
                }
                let flaws = judge::flaws(&wanted, &got);
                let is_read = matches!(wanted.kind, AssetKind::Style | AssetKind::Frame);
                let is_sheet = is_read && (200..300).contains(&got.status) && flaws.iter().all(Flaw::is_harmless);
                (flaws, is_sheet.then_some(got))
            }
            Err(Missed::Flawed(flaw)) => (vec![flaw], None),
            Err(Missed::Elsewhere(url)) => return self.leave(&url),
        };
        self.fetched += 1;
        for asset in &assets {
            self.blame(asset, &wanted, &flaws);
        }
        let (sheet, document) = match sheet {
            Some(got) if wanted.kind == AssetKind::Frame => (None, Some(got)),
            sheet => (sheet, None),
        };
        if let Some(got) = document {
            self.note_document(&wanted, got, assets.first());
        }
        let link = assets.into_iter().find(|asset| !asset.terms.is_ahead);
        let is_unread = sheet.is_some() && link.is_none();
        let contents: Arc<[Asset]> = match (sheet, link) {
            (Some(sheet), Some(link)) => self.read(&wanted, sheet, link).await.into(),
            _ => Arc::default(),
        };
        if wanted.kind == AssetKind::Frame {
            self.memory.known.insert(wanted, State::Done(Done { flaws, is_unread: false, contents }));
            return;
        }
        self.memory.known.insert(wanted.clone(), State::Done(Done { flaws, is_unread, contents: Arc::clone(&contents) }));
        if self.entered.insert(wanted) {
            contents.iter().for_each(|asset| self.take(asset.clone()));
        }
    }

    fn note_document(&mut self, wanted: &Wanted, got: Got, asset: Option<&Asset>) {
        if got.url.origin() != self.page.origin() {
            self.foreign_frames += 1;
            return;
        }
        self.memory.documents.insert(wanted.clone(), Arc::new(got));
        if let Some(asset) = asset {
            self.frame(wanted, asset);
        }
    }

    /// Reads a style sheet that came: what it asks for.
    async fn read(&mut self, wanted: &Wanted, sheet: Got, link: Asset) -> Vec<Asset> {
        if !sheet.is_whole {
            self.tally.add(rules::truncated::sheet(&link, &wanted.url, sheet.body.len()));
        }
        self.memory.imports.came(&sheet.url, &wanted.url, &link);
        let encoding = self.encoding;
        let is_large = sheet.body.len() >= LARGE_SHEET_BYTES;
        let mut styles = std::mem::take(&mut self.styles);
        let is_quirky = styles.is_quirky;
        let read = move || {
            let text = page::decode_sheet(&sheet.body, sheet.content_type.as_deref(), encoding);
            let found = styles.read(&text, &sheet.url, &link);
            (styles, found)
        };
        let (styles, found) = if is_large { tokio::task::spawn_blocking(read).await.unwrap_or_default() } else { read() };
        self.styles = styles;
        self.styles.is_quirky = is_quirky;
        found
    }

    fn give_up(&mut self, left: usize) {
        let within = self.plan.within.as_secs_f64();
        let message = format!("{left} of {} assets did not arrive within {within} s and were not checked.", left + self.fetched as usize);
        self.tally.add(rules::truncated::by_time(message));
    }

    fn say_what_is_left(&mut self) {
        if self.is_over_full {
            let message = format!("The page requests more than {MOST_REQUESTS} assets; the others were not fetched.");
            self.tally.add(rules::truncated::by_number(message));
        }
        if self.foreign_frames > 0 {
            let message = format!("Frames from other origins ({}) were not checked.", self.foreign_frames);
            self.tally.add(catalogue::NOT_CHECKED.finding(message));
        }
        if self.elsewhere.is_empty() {
            return;
        }
        let count: u32 = self.elsewhere.values().sum();
        let mut hosts: Vec<(&String, &u32)> = self.elsewhere.iter().collect();
        hosts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let named: Vec<String> = hosts.iter().take(NAMED).map(|(host, count)| format!("{host} ({count})")).collect();
        let more = if hosts.len() > NAMED { format!(" and {} more", hosts.len() - NAMED) } else { String::new() };
        let is_own = self.elsewhere.keys().all(|place| self.page.host_str().is_some_and(|host| place.split(':').next() == Some(host)));
        let are = match (count, is_own) {
            (1, true) => "One asset on another port of the page's host was",
            (1, false) => "One asset on another host was",
            (_, true) => "Assets on other ports of the page's host were",
            (_, false) => "Assets on other hosts were",
        };
        let message = format!("{are} not fetched: {}{more}.", named.join(", "));
        let mut finding = catalogue::NOT_CHECKED.finding(message);
        finding.severity = Severity::Note;
        "To have them fetched too, add their hosts to allowed_hosts.".clone_into(&mut finding.fix);
        self.tally.add(finding);
    }
}
