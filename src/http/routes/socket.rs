//! `/ws/deployments/{id}`: a journal over a WebSocket: stored lines, then live ones, then the outcome, and then it is closed.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::BodyStream;
use actix_web::web;
use actix_web::web::Bytes;
use futures_util::stream;
use tokio::time::Instant;
use utoipa::IntoParams as _;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterIn;

use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Entrant;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Opening;
use crate::http::auth::Proven;
use crate::http::auth::Session;
use crate::http::auth::Unnamed;
use crate::http::error::ApiError;
use crate::http::follower::Follower;
use crate::http::follower::Wanted;
use crate::http::incoming;
use crate::http::incoming::Incoming;
use crate::http::incoming::Said;
use crate::http::incoming::Unheard;
use crate::http::pages::Form;
use crate::http::routes::deployments::ReadOne;
use crate::model::Caller;
use crate::model::Verb;

/// By when the first frame must have arrived, where it is the proof.
const FIRST_FRAME: Duration = Duration::from_secs(5);
/// How often the client is asked whether it is there, whatever else is sent.
const PING: Duration = Duration::from_secs(15);
/// A client that has sent nothing for so long, not even answers to pings, is gone.
const SILENT: Duration = Duration::from_secs(50);

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct SocketQuery {
    /// The position of the last line that the client already has.
    #[param(minimum = 0)]
    after: Option<i64>,
}

pub(super) fn takes() -> Vec<Parameter> {
    SocketQuery::into_params(|| Some(ParameterIn::Query))
}

/// A journal that is followed.
pub(super) struct Follow {
    deployment: ReadOne,
    after: i64,
}

impl Ask for Follow {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, body: NoBody) -> Result<Self, ApiError> {
        let SocketQuery { after } = call.query()?;
        Ok(Self { deployment: ReadOne::read(call, body).await?, after: after.unwrap_or(0) })
    }

    fn needs(&self) -> Needs {
        self.deployment.needs()
    }

    fn ordered_by(&self) -> Option<&Caller> {
        self.deployment.ordered_by()
    }
}

pub(super) async fn follow(opening: Opening<Follow>, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let Opening { entrant, session, payload, answer } = opening;
    let now = Instant::now();
    let stage = match entrant {
        Entrant::Proven(proven) => Stage::Following(Box::new(follower(&shared, *proven, session).await?)),
        Entrant::Unnamed(unnamed) => Stage::Unnamed(unnamed, now + FIRST_FRAME),
    };
    let incoming = Incoming::new(payload);
    let socket = Socket { shared, incoming, stage, due: VecDeque::new(), ping_at: now + PING, heard_at: now };
    let frames = stream::unfold(socket, |mut socket| async move {
        let frame = socket.next().await?;
        Some((Ok::<Bytes, actix_web::Error>(frame), socket))
    });
    Ok(answer.set_body(BodyStream::new(frames)).map_into_boxed_body())
}

async fn follower(shared: &web::Data<Shared>, proven: Proven<Follow>, session: Option<Session>) -> Result<Follower, ApiError> {
    let right = proven.right(&proven.ask.deployment.0.order.service, session, shared);
    let Proven { ask: Follow { deployment: ReadOne(found), after }, caller, .. } = proven;
    Follower::of(shared, &found, &caller, right, Wanted { form: Form::Objects, after, live: true }).await
}

/// One WebSocket. It is polled only when its client has taken nearly everything that was sent before, and the connection below it is
/// closed when the client takes too little.
struct Socket {
    shared: web::Data<Shared>,
    incoming: Incoming,
    stage: Stage,
    /// What is to be sent before anything else.
    due: VecDeque<Bytes>,
    ping_at: Instant,
    heard_at: Instant,
}

enum Stage {
    /// The first frame must arrive by then.
    Unnamed(Unnamed, Instant),
    Following(Box<Follower>),
    Over,
}

impl Socket {
    /// The next bytes to send; none when the connection is closed.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.due.pop_front() {
                return Some(bytes);
            }
            match &mut self.stage {
                Stage::Over => return None,
                Stage::Unnamed(_, until) => {
                    let said = tokio::time::timeout_at(*until, self.incoming.next()).await;
                    self.first(said.ok()).await;
                }
                Stage::Following(follower) => {
                    tokio::select! {
                        biased;
                        said = self.incoming.next() => self.hear(said),
                        piece = follower.next() => self.send(piece),
                        () = tokio::time::sleep_until(self.ping_at) => self.ping(),
                    }
                }
            }
        }
    }

    /// What the client says before it has proven anything; none when it was too slow.
    async fn first(&mut self, said: Option<Result<Said, Unheard>>) {
        let Stage::Unnamed(unnamed, _) = &self.stage else { return };
        match said {
            None => self.close(4408, "The first message, {\"token\": \"…\"}, did not arrive within 5 seconds."),
            Some(Ok(Said::Text(frame))) => {
                let proven = unnamed.prove(&frame, &self.shared).await;
                let entered = match proven {
                    Ok(proven) => follower(&self.shared, proven, None).await,
                    Err(refused) => Err(refused),
                };
                self.heard_at = Instant::now();
                match entered {
                    Ok(follower) => self.stage = Stage::Following(Box::new(follower)),
                    Err(refused) => self.refuse(&refused),
                }
            }
            Some(said) => self.hear(said),
        }
    }

    fn hear(&mut self, said: Result<Said, Unheard>) {
        self.heard_at = Instant::now();
        match said {
            Ok(Said::Ping(content)) => self.due.push_back(incoming::pong(&content)),
            Ok(Said::Close) => self.close(1000, ""),
            Ok(Said::Text(_) | Said::Other) => {}
            Err(unheard) => {
                let (code, words) = unheard.close();
                self.close(code, words);
            }
        }
    }

    fn send(&mut self, piece: Option<Result<Bytes, ApiError>>) {
        match piece {
            Some(Ok(piece)) => self.due.extend([incoming::text_head(piece.len()), piece]),
            Some(Err(refused)) => self.refuse(&refused),
            None => self.close(1000, ""),
        }
    }

    fn ping(&mut self) {
        let now = Instant::now();
        self.ping_at = now + PING;
        if now.duration_since(self.heard_at) > SILENT {
            self.close(4408, "Nothing has come from you for a while, not even answers to pings.");
        } else {
            self.due.push_back(incoming::PING);
        }
    }

    fn refuse(&mut self, refused: &ApiError) {
        let (code, words) = refused.close();
        self.close(code, words);
    }

    fn close(&mut self, code: u16, words: &str) {
        self.due.push_back(incoming::close(code, words));
        self.stage = Stage::Over;
    }
}
